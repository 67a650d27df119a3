"""How the tests start a raw program, and the clients that it meets."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

RAW = Path(__file__).resolve().parents[2] / "examples" / "raw"
LISTENING = b"listening on 127.0.0.1:"
PATIENCE_S = 30
AGAIN_S = 3
BLOCK_BYTES = 100_003
LINGER_ZERO = struct.pack("ii", 1, 0)
SMALL_BYTES = 4096
READ_BYTES = 65536  # what the servers read at once: no less, or they would never send in part


@dataclass(frozen=True)
class Server:
    """A raw server that runs."""

    popen: subprocess.Popen[bytes]
    port: int

    @property
    def pid(self) -> int:
        return self.popen.pid

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def connect_with_little_room(self) -> socket.socket:
        """A client that sends much at once, and has little room for what comes back."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, READ_BYTES)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", self.port))
        return client

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_ns(self) -> int:
        return time.clock_gettime_ns((~self.pid << 3) | 2)  # the process's CPU clock, exactly

    def sleeps(self) -> bool:
        """Whether it waits in the kernel; a busy loop that has no core right now does not."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"

    def all_sleep(self) -> bool:
        """The same of all its threads: none of them has begun something and was interrupted."""
        stats = [task.read_text() for task in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"S"}

    def unread(self, client: socket.socket) -> int:
        """Bytes of this client that the server's end has in its buffer."""
        ports = f"{self.port:04X}", f"{client.getsockname()[1]:04X}"
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            _, ours, theirs, _, queues, *_ = line.split()
            if (ours.rpartition(":")[2], theirs.rpartition(":")[2]) == ports:
                return int(queues.rpartition(":")[2], 16)
        raise AssertionError("this client has no connection to the server")

    def is_at_rest(self) -> bool:
        """Whether it slept all the time between two looks: a busy loop never does."""
        before = self.cpu_ns()
        time.sleep(0.01)
        return self.sleeps() and self.cpu_ns() == before


@contextlib.contextmanager
def running(name: str, before: str = "") -> Iterator[Server]:
    """The server, which Ctrl-C must end without a word; before it starts, more may be run."""
    program = str(RAW / f"{name}.py")
    code = f"{before}\nimport runpy; runpy.run_path({program!r}, run_name='__main__')"
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            [sys.executable, *(["-c", code] if before else [program])],
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as popen:
            try:
                line = popen.stdout.readline()
                assert line.startswith(LISTENING), line
                yield Server(popen, int(line[len(LISTENING) :]))
                wait_until(lambda: interrupted(popen))
                assert popen.returncode == 0
            finally:
                popen.kill()
        errors.seek(0)
        assert errors.read() == b""


def interrupted(popen: subprocess.Popen[bytes]) -> bool:
    """Presses Ctrl-C, and sees whether the program ends by that.

    One that comes between Python's last look for signals and the call that blocks is noticed when
    that call returns: in one of 2,000 ends of threads.py on a busy machine, never.  So again.
    """
    popen.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(AGAIN_S)
    return popen.returncode is not None


def wait_until(holds: Callable[[], bool]) -> None:
    """Polls for a condition of another process; a limit, not a measure."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def payload(size: int, seed: object) -> bytes:
    return random.Random(repr(seed)).randbytes(size)


def receive(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = client.recv(size - len(data))
        assert more, f"the server closed after {len(data)} of {size} bytes"
        data += more
    return bytes(data)


def ask_all(clients: list[socket.socket], size: int) -> None:
    """All of them have sent before the first one reads: they are served side by side."""
    sent = [payload(size, number) for number in range(len(clients))]
    for client, data in zip(clients, sent, strict=True):
        client.sendall(data)
    for client, data in zip(clients, sent, strict=True):
        assert receive(client, size) == data.upper()


def push(client: socket.socket, seed: object) -> bytes:
    """Sends without reading until the kernel takes no more; answers what it took.

    How much that is, only the kernel knows: its buffers grow.
    """
    block = payload(BLOCK_BYTES, seed)
    sent = 0
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += client.send(block[sent % BLOCK_BYTES :])
    return (block * (sent // BLOCK_BYTES + 1))[:sent]


def exchange(client: socket.socket, unsent: bytes, size: int) -> bytes:
    """Sends the rest and reads the whole reply, in small pieces."""
    client.setblocking(False)
    received = bytearray()
    while len(received) < size:
        events = select.POLLIN | (select.POLLOUT if unsent else 0)
        poll = select.poll()
        poll.register(client, events)
        assert poll.poll(PATIENCE_S * 1000), "neither takes nor gives"
        with contextlib.suppress(BlockingIOError):
            unsent = unsent[client.send(unsent) :] if unsent else b""
        with contextlib.suppress(BlockingIOError):
            more = client.recv(SMALL_BYTES)
            assert more, f"the server closed after {len(received)} of {size} bytes"
            received += more
    client.settimeout(PATIENCE_S)
    return bytes(received)


def reset(client: socket.socket) -> None:
    """Closes with RST, as a client that has crashed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    client.close()


def leave(client: socket.socket) -> None:
    """Says that it has no more to say, and sees the server end as well."""
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    client.close()
