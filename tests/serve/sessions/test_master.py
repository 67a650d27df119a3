"""The whole command: workers that share ports, die, are replaced, drain and reload."""

from __future__ import annotations

import errno
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ftp_server import WAIT_S_MAX, Client, read_all, wait_until

from headrace.serve.limits import Limits
from headrace.serve.master import (
    END_MARGIN_S,
    RESTART_DELAY_S_MAX,
    RESTART_DELAY_S_MIN,
    Master,
    describe,
    workers_needed,
)
from headrace.serve.settings import Settings
from headrace.serve.site import Site
from headrace.serve.worker import DRAIN

BIG = b"0123456789abcdef" * 2**20  # 16 MiB


class Command:
    """`headrace serve`, running."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log_file = folder.parent / "log"
        self.log_file.touch()
        command = [sys.executable, "-m", "headrace", "serve", str(folder), "--http", "off"]
        command += ["--ftp", "127.0.0.1:0", "--log-file", str(self.log_file), *words]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def log(self) -> str:
        return self.log_file.read_text()

    def ready(self) -> Command:
        wait_until(lambda: " ready " in self.log() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.process.communicate()[1]
        return self

    def port(self, protocol: str = "ftp") -> int:
        found = re.search(rf"listening address={protocol}://\S+:(\d+)", self.log())
        assert found is not None
        return int(found[1])

    def workers(self) -> set[int]:
        pid = self.process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return set(map(int, text.split()))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(WAIT_S_MAX)


@pytest.fixture
def serve(served: Path) -> Iterator[Callable[..., Command]]:
    (served / "big").write_bytes(BIG)
    started: list[Command] = []

    def start(*words: str, folder: Path = served) -> Command:
        started.append(Command(folder, "--limit", "clients_max=100", "--workers", "1", *words))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()
        assert command.process.stderr is not None
        command.process.stderr.close()


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user can reach; pytest's are closed anew by each pytest that begins."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name, "served")
        folder.mkdir()
        (folder / "big").write_bytes(BIG)
        yield folder


def owners_of(clients: list[Client], workers: set[int]) -> list[int]:
    """The processes that have the other ends of these connections."""
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        inodes[local, remote] = inode
    owners = {}
    for worker in workers:
        for fd in Path(f"/proc/{worker}/fd").iterdir():
            owners[os.readlink(fd)] = worker
    return [owners[f"socket:[{inodes[ends(client.sock)]}]"] for client in clients]


def ends(sock: socket.socket) -> tuple[str, str]:
    """Of the server's side, as /proc/net/tcp writes them."""
    local, remote = (
        f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
        for host, port in (sock.getpeername(), sock.getsockname())
    )
    return local, remote


def test_a_port_that_is_taken_is_one_line(serve: Callable[..., Command]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = serve("--ftp", f"127.0.0.1:{port}")
        assert command.end() == 1
        assert command.process.stderr is not None
        errors = command.process.stderr.read()
    assert errors.count("\n") == 1
    assert f"127.0.0.1:{port}" in errors


def test_sigterm_lets_transfers_end(serve: Callable[..., Command]) -> None:
    command = serve("--workers", "2").ready()
    with Client(command.port()) as idle, Client(command.port()) as busy:
        idle.log_in()
        busy.log_in()
        with busy.data(SO_RCVBUF=8192) as sock:
            assert busy.say("RETR big").startswith("150")
            begin = sock.recv(1000)
            command.signal(signal.SIGTERM)
            assert idle.answer().startswith("421")
            wait_until(lambda: is_refused(command.port()), "the end of listening")
            assert begin + read_all(sock) == BIG
        assert busy.answer().startswith("226")
        assert busy.answer().startswith("421")
    assert command.end() == 0
    assert " ended" in command.log()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it had been in the queue
        return False
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_to_the_whole_group_lets_transfers_end(
    serve: Callable[..., Command], number: signal.Signals
) -> None:
    command = serve("--workers", "2").ready()
    with Client(command.port()) as idle, Client(command.port()) as busy:
        idle.log_in()
        busy.log_in()
        with busy.data(SO_RCVBUF=8192) as sock:
            assert busy.say("RETR big").startswith("150")
            begin = sock.recv(1000)
            os.killpg(command.process.pid, number)  # Ctrl-C, or systemd
            assert idle.answer().startswith("421")
            for worker in command.workers():  # late, or from somebody else
                os.kill(worker, number)
            assert begin + read_all(sock) == BIG
        assert busy.answer().startswith("226")
        assert busy.answer().startswith("421")
    assert command.end() == 0


def test_a_second_signal_ends_at_once(serve: Callable[..., Command]) -> None:
    command = serve().ready()
    with Client(command.port()) as client, Client(command.port()) as idle:
        idle.log_in()
        client.log_in()
        with client.data(SO_RCVBUF=8192) as sock:
            assert client.say("RETR big").startswith("150")
            command.signal(signal.SIGINT)
            assert idle.answer().startswith("421")
            command.signal(signal.SIGINT)
            assert command.end() == 0
            with pytest.raises(ConnectionResetError):
                read_all(sock)


def test_a_drain_has_a_time_limit(serve: Callable[..., Command]) -> None:
    command = serve("--limit", "drain_timeout_s=0.3").ready()
    with Client(command.port()) as client:
        with client.log_in().data(SO_RCVBUF=8192):
            assert client.say("RETR big").startswith("150")
            command.signal(signal.SIGTERM)
            assert command.end() == 0


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(
    serve: Callable[..., Command],
) -> None:
    command = serve("--workers", "2").ready()
    before = command.workers()
    assert len(before) == 2
    clients = [Client(command.port()).log_in() for _ in range(20)]
    socks = [client.data(SO_RCVBUF=8192) for client in clients]
    for client in clients:
        assert client.say("RETR big").startswith("150")
    owners = owners_of(clients, before)
    victim = owners[0]
    os.kill(victim, signal.SIGKILL)
    for client, sock, owner in zip(clients, socks, owners, strict=True):
        if owner == victim:
            with pytest.raises((ConnectionResetError, EOFError)):
                client.answer()
        else:
            assert read_all(sock) == BIG
            assert client.answer().startswith("226")
        sock.close()
        client.close()
    wait_until(lambda: len(command.workers()) == 2, "the new worker")
    assert victim not in command.workers()
    assert "why=SIGKILL" in command.log()
    for _ in range(10):  # the new one among them
        with Client(command.port()) as client:
            client.log_in()
    command.signal(signal.SIGTERM)
    assert command.end() == 0


@pytest.fixture
def master(served: Path) -> Iterator[Master]:
    """Of one worker, which is not there yet; it logs into `log` beside the folder."""
    site = Site(Settings(str(served), log_file=str(served.parent / "log")))
    made = Master(site, [[]])
    yield made
    made.end()
    site.close()


def test_a_fork_that_fails_is_tried_again_more_and_more_slowly(
    master: Master, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr("os.fork", fail)
    [child] = master.children
    delays = []
    for _ in range(10):
        master.replace()
        delays.append(child.restart_s - now_s)
        master.replace()  # too soon: nothing happens
        now_s = child.restart_s
    assert delays[:3] == [RESTART_DELAY_S_MIN * 2**time for time in range(3)]
    assert delays[-1] == RESTART_DELAY_S_MAX
    assert (tmp_path / "log").read_text().count(" fork_failed error=") == 10
    assert master.running() == 0
    assert master.board.restarts == 0


@pytest.fixture
def hung(master: Master) -> Iterator[subprocess.Popen[bytes]]:
    """The master's worker, which never beats, nor ends when it is told to."""
    process = subprocess.Popen(
        ["sleep", "1000"], preexec_fn=lambda: signal.signal(DRAIN, signal.SIG_IGN)
    )
    master.children[0].pid = process.pid
    yield process
    process.kill()
    process.wait()


def test_a_worker_that_is_silent_is_killed(
    master: Master, hung: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    master.watch.begin(0, now_s)
    for silence_s in range(61):
        now_s = 1000.0 + silence_s
        master.kill_hung()
    assert hung.poll() is None
    for _ in range(3):  # once is enough
        now_s += 1
        master.kill_hung()
    assert hung.wait(WAIT_S_MAX) == -signal.SIGKILL
    master.children[0].pid = 0
    assert (tmp_path / "log").read_text().count(" worker_hung ") == 1


def test_a_worker_that_does_not_end_is_killed(
    master: Master, hung: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    master.begin_end()
    while now_s <= 1000.0 + master.site.settings.limits.drain_timeout_s + END_MARGIN_S:
        master.board.beat(0)
        master.kill_hung()
        now_s += 1
    assert hung.poll() is None
    master.kill_hung()
    assert hung.wait(WAIT_S_MAX) == -signal.SIGKILL
    master.children[0].pid = 0


def test_a_worker_that_stands_still_is_replaced(serve: Callable[..., Command]) -> None:
    command = serve("--limit", "worker_silence_timeout_s=2").ready()
    [before] = command.workers()
    os.kill(before, signal.SIGSTOP)
    wait_until(lambda: f" worker_hung pid={before}" in command.log(), "the watchdog")
    wait_until(lambda: command.workers() - {before}, "the new worker")
    assert not is_running(before)


def test_each_end_of_a_worker_has_a_description() -> None:
    assert describe(signal.SIGKILL) == "SIGKILL"
    assert describe(signal.SIGRTMIN + 1) == f"signal {signal.SIGRTMIN + 1}"
    assert describe(3 << 8) == "exit code 3"


def test_workers_die_with_their_master(serve: Callable[..., Command]) -> None:
    command = serve("--workers", "2").ready()
    workers = command.workers()
    command.process.kill()
    command.end()
    wait_until(lambda: not any(is_running(pid) for pid in workers), "the workers' end")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_sighup_reads_users_again(serve: Callable[..., Command], users_file: Path) -> None:
    text = users_file.read_text()
    users_file.write_text("")
    command = serve("--users", str(users_file)).ready()
    with Client(command.port()) as client, Client(command.port()) as busy:
        with busy.log_in().data(SO_RCVBUF=8192) as sock:
            assert busy.say("RETR big").startswith("150")
            users_file.write_text(text)
            command.signal(signal.SIGHUP)
            wait_until(lambda: command.log().count("reloaded") == 2, "master and worker")
            client.answer()
            client.say("USER alice")
            assert client.say("PASS secret").startswith("230")
            assert read_all(sock) == BIG  # no transfer is dropped
        assert busy.answer().startswith("226")


def test_metrics_are_those_of_all_workers(serve: Callable[..., Command]) -> None:
    pytest.importorskip("httptools")
    command = serve("--workers", "3", "--metrics", "127.0.0.1:0").ready()
    clients = [Client(command.port()).log_in() for _ in range(10)]

    def sessions() -> int:
        with socket.create_connection(("127.0.0.1", command.port("metrics"))) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = read_all(sock).decode()
        assert "text/plain; version=0.0.4" in text
        return sum(map(int, re.findall(r'^headrace_ftp_sessions\{worker="\d"\} (\d+)', text, re.M)))

    assert sessions() == 10
    for client in clients:
        client.close()
    wait_until(lambda: sessions() == 0)


def test_ports_share_their_clients(serve: Callable[..., Command]) -> None:
    command = serve("--workers", "2").ready()
    clients = [Client(command.port()).log_in() for _ in range(40)]
    owners = set(owners_of(clients, command.workers()))
    for client in clients:
        client.close()
    assert owners == command.workers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_privileges_are_given_up(serve: Callable[..., Command], open_to_all: Path) -> None:
    user = pwd.getpwnam("nobody")
    command = serve("--run-as", "nobody", folder=open_to_all).ready()
    for pid in (command.process.pid, *command.workers()):
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(rf"^Uid:\s+{user.pw_uid}\s+{user.pw_uid}\s+{user.pw_uid}", status, re.M)
        assert re.search(rf"^Gid:\s+{user.pw_gid}\s", status, re.M)
        assert re.search(r"^NoNewPrivs:\s+1", status, re.M)
        assert re.search(r"^CapEff:\s+0+$", status, re.M)
    with Client(command.port()) as client:
        assert client.log_in().retrieve("RETR big") == BIG


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_sighup_reloads_after_privileges_are_given_up(
    serve: Callable[..., Command], open_to_all: Path
) -> None:
    command = serve("--run-as", "nobody", folder=open_to_all).ready()
    command.signal(signal.SIGHUP)
    wait_until(lambda: command.log().count(" reload") == 2, "master and worker")
    assert command.log().count(" reloaded ") == 2


@pytest.mark.parametrize(
    ("workers", "clients", "descriptors", "needed"),
    [
        (1, 100, 1024, 1),
        (1, 10_000, 20_000, 1),
        (None, 100, 1024, 3),
        (None, 100, -1, 3),
        (None, 1000, 1024, 4),
        (None, 1_000_000, 1024, 256),
    ],
)
def test_workers_are_as_many_as_named_or_cores_or_descriptors_want(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    clients: int,
    descriptors: int,
    needed: int,
) -> None:
    monkeypatch.setattr("headrace.serve.master.usable_cores", lambda: 3)
    monkeypatch.setattr("resource.getrlimit", lambda which: (descriptors, descriptors))
    settings = Settings("/", workers=workers, limits=Limits(clients_max=clients))
    assert workers_needed(settings) == needed


def test_a_port_that_another_headrace_has_is_refused(serve: Callable[..., Command]) -> None:
    """Of the same user, which SO_REUSEPORT alone would let share it."""
    first = serve().ready()
    second = serve("--ftp", f"127.0.0.1:{first.port()}")
    assert second.end() == 1
    assert second.process.stderr is not None
    assert "Address already in use" in second.process.stderr.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    command = Command(folder, "--run-as", "nobody", "--workers", "1")
    assert command.end() == 1
    assert command.process.stderr is not None
    with command.process.stderr as errors:
        assert f"{folder}: nobody may not read it" in errors.read()


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ({}, 3),
        ({"anonymous": "rw"}, 4),  # an upload has its folder open, too
        ({"users": "users", "anonymous": "off"}, 5),  # and each user a home
    ],
    ids=str,
)
def test_workers_are_enough_for_what_a_client_has_open(
    monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], needed: int
) -> None:
    monkeypatch.setattr("headrace.serve.master.usable_cores", lambda: 1)
    monkeypatch.setattr("resource.getrlimit", lambda which: (1128, 1128))
    settings = Settings("/", limits=Limits(clients_max=999), **words)
    assert workers_needed(settings) == needed
