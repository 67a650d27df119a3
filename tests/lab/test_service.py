"""The upper-case service answers the same in every mode, on every loop at hand."""

import importlib.util
import json
import socket
import subprocess
import sys

import pytest

import headrace
from headrace.lab.contenders import service_command, service_environment
from headrace.lab.service import MODES

LOOPS = ["asyncio"]
LOOPS += [name for name in ("uvloop", "rloop") if importlib.util.find_spec(name)]
LOOPS += [f"headrace:{model.name}" for model in headrace.models() if model.available]


@pytest.fixture
def start():
    started = []

    def start(loop: str, mode: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            service_command(loop, mode),
            env=service_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loop", LOOPS)
def test_service_answers_upper_case(start, loop, mode):
    process = start(loop, mode)
    port = json.loads(process.stdout.readline())["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for payload in (b"a", "Straße".encode(), bytes(range(256)) * 300):
            connection.sendall(payload)
            assert receive(connection, len(payload)) == payload.upper()


@pytest.mark.parametrize("loop", ["asyncio", "headrace:epoll"])
def test_service_reports_statistics_where_the_loop_has_them(start, loop):
    process = start(loop, "protocol")
    process.stdout.readline()
    process.stdin.write(b"report\n")
    process.stdin.flush()
    report = json.loads(process.stdout.readline())
    assert report["exceptions"] == 0
    if loop == "asyncio":
        assert report["statistics"] is None
    else:
        assert "system_calls" in report["statistics"]


def test_service_ends_with_its_standard_input(start):
    process = start("asyncio", "protocol")
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(20) == 0


def test_service_of_a_peer_does_not_load_headrace():
    code = (
        "import sys, runpy; sys.argv = ['service', '--help']\n"
        "try: runpy.run_path(%r, run_name='__main__')\n"
        "except SystemExit: print([m for m in sys.modules if 'headrace' in m])"
    )
    script = service_command("asyncio", "protocol")[2]
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code % script], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"
