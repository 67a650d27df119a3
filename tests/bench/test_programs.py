"""What is measured does what it says, on stock asyncio and on a loop of ours."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from suite import contenders, environment, tls
from suite.cell import Failure
from suite.program import NOT_HERE, last_words, run
from suite.storm import storm
from suite.wrk import window_of

PROGRAMS = environment.BENCH / "programs"
LOOPS = ["asyncio", "headrace:epoll"]
HAS_OPENSSL = Path("/usr/include/openssl/ssl.h").is_file() and shutil.which("openssl") is not None


@contextlib.contextmanager
def started(program: str, *options: str):
    """The program, and the port that it says."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment.variables(),
    )
    try:
        yield process, json.loads(process.stdout.readline())["port"]
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", ["protocol", "buffered", "read", "readline", "sockets"])
def test_echo_answers_the_same_bytes_in_each_mode(loop, mode):
    with (
        started("echo.py", "--loop", loop, "--mode", mode) as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
    ):
        for payload in (b"a\n", bytes(range(11, 256)) * 400 + b"\n"):
            connection.sendall(payload)
            assert receive(connection, len(payload)) == payload


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", ["protocol", "read", "sockets"])
def test_echo_listens_on_a_unix_socket(loop, mode, tmp_path):
    path = str(tmp_path / "socket")
    with (
        started("echo.py", "--loop", loop, "--mode", mode, "--unix", path) as (_, port),
        socket.socket(socket.AF_UNIX) as connection,
    ):
        assert port == 0
        connection.settimeout(20)
        connection.connect(path)
        connection.sendall(b"hello")
        assert receive(connection, 5) == b"hello"


def test_storm_ends_when_all_are_served():
    with started("echo.py", "--loop", "headrace:epoll", "--default-backlog") as (_, port):
        assert 0.0 < storm(("127.0.0.1", port), 50) < 60.0


def test_storm_says_that_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(Failure, match=r"a connection failed: |a connect was refused"):
        storm(address, 2)


@pytest.mark.parametrize("loop", LOOPS)
def test_echo_answers_datagrams(loop):
    with (
        started("echo.py", "--loop", loop, "--mode", "datagrams") as (_, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(20)
        sock.sendto(b"hello", ("127.0.0.1", port))
        assert sock.recv(100) == b"hello"


@pytest.mark.skipif(not HAS_OPENSSL, reason="needs libssl-dev and openssl")
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("size", [1, 256, 65536])
def test_load_that_speaks_tls_counts_every_request(lines, size):
    mode = "readline" if lines else "protocol"
    with started("echo.py", "--mode", mode, "--certificate", tls.certificate()) as (_, port):
        load = tls.TLSLoad(("127.0.0.1", port), busy=3, size=size, lines=lines)
        try:
            load.connect()
            first, second = load.run(0.05), load.run(0.05)
        finally:
            load.close()
    for window in (first, second):
        assert window.errors == {}
        assert window.requests >= 3
        assert sum(count for _, count in window.latency_ns) == window.requests


@pytest.mark.skipif(not HAS_OPENSSL, reason="needs libssl-dev and openssl")
def test_load_that_speaks_tls_says_why_it_cannot():
    with started("echo.py", "--mode", "protocol") as (_, port):
        load = tls.TLSLoad(("127.0.0.1", port), busy=1, size=100)
        with pytest.raises(tls.LoadError, match="handshake"):
            load.connect()
        load.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("app", ["minimal", "close", "aiohttp", "uvicorn"])
def test_http_service_answers(loop, app):
    pytest.importorskip({"uvicorn": "starlette"}.get(app, "aiohttp"))
    with started("http_server.py", "--loop", loop, "--app", app) as (_, port):
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as reply:
                assert json.loads(reply.read()) == {"hello": "world"}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", ["protocol", "streams"])
def test_idle_server_says_what_it_weighs(loop, mode):
    with started("idle_server.py", "--loop", loop, "--mode", mode) as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            for count in (1, 0):
                if count == 0:
                    connection.close()
                process.stdin.write(b"%d\n" % count)
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["rss_bytes"] > 2**20


def command(program: str, *options: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / program), *options]


def scheduling_cells() -> list[str]:
    from scenarios.scheduling import CELLS

    return list(CELLS)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("cell", scheduling_cells())
def test_scheduling_program_has_each_cell_of_the_scenario(loop, cell):
    found = run(command("scheduling.py", "--loop", loop, "--cell", cell, "--part", "0.001"))
    assert found["ns"] > 0
    assert found["cpu_ns"] > 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("cell", ["spawn", "resolve"])
def test_operations_program_measures(loop, cell):
    found = run(command("operations.py", "--loop", loop, "--cell", cell, "--part", "0.02"))
    assert found["ns"] > 0


@pytest.mark.parametrize("options", [[], ["--writes"]])
def test_files_program_measures(options):
    found = run(command("files.py", "--way", "executor", "--count", "64", *options))
    assert found["us"] > 0


def test_program_that_fails_has_its_last_line_as_reason():
    with pytest.raises(Failure, match="ValueError: no such thing"):
        run([sys.executable, "-c", "raise ValueError('no such thing')"])


def test_program_that_is_killed_has_the_signal_as_reason():
    with pytest.raises(Failure, match="died of SIGKILL: no message"):
        run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_program_that_says_why_it_cannot_is_quoted():
    assert last_words(NOT_HERE, "it has no TLS\n") == "it has no TLS"


def test_program_leaves_no_child_behind():
    code = (
        "import json, subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(json.dumps({'pid': child.pid}))"
    )
    pid = int(run([sys.executable, "-c", code])["pid"])
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_wrks_summary_is_a_window():
    found = {
        "requests": 5000,
        "seconds": 1.25,
        "connect": 0,
        "read": 2,
        "write": 0,
        "status": 3,
        "timeout": 0,
        "latency_us": [100.0] * 999 + [2000.0],
    }
    window = window_of(found)
    assert (window.requests, window.seconds) == (5000, 1.25)
    assert window.errors == {"short_reply": 2, "http_status": 3}
    assert window.latency_ns == ((100_000, 4995), (2_000_000, 5))


def test_environment_finds_the_version_of_an_interpreter():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert environment.version_of(sys.executable) == version


def test_environment_has_this_clones_headrace_and_no_model(monkeypatch):
    monkeypatch.setenv("HEADRACE_MODEL", "poll")
    found = environment.variables()
    assert found["PYTHONPATH"] == str(environment.ROOT / "src")
    assert "HEADRACE_MODEL" not in found
    assert os.environ["HEADRACE_MODEL"] == "poll"


def test_environment_goes_on_without_what_is_missing(monkeypatch, tmp_path, capsys):
    """Without Python 3.12, and with one peer that has no wheel for what there is."""
    asked: list[list[str]] = []

    def install(place: Path, what: list[str]) -> bool:
        asked.append(what)
        return what[0] not in ("--requirement", "blazio==0.1.0")

    environment.python_of(tmp_path).parent.mkdir()
    environment.python_of(tmp_path).touch()
    monkeypatch.setattr(environment, "find_interpreter", lambda: None)
    monkeypatch.setattr(environment, "install", install)
    environment.make(tmp_path)
    said = capsys.readouterr().err
    assert "Python 3.12 is neither on $PATH nor in pyenv, and blazio" in said
    assert "blazio==0.1.0 cannot be installed here: what needs it is left out" in said
    assert "uvloop" not in said
    assert asked[1:] == [[requirement] for requirement in environment.requirements()]


def test_contender_that_is_not_installed_has_that_for_a_reason(monkeypatch):
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda name: None)
    assert contenders.peer("blazio").reason == "not installed for this Python"
    assert contenders.peer("asyncio").reason is None


def test_requirements_pin_every_peer():
    for package in ("aiofastnet", "blazio", "rloop", "uvloop", "aiofiles", "caio"):
        assert any(line.startswith(f"{package}==") for line in environment.requirements())
