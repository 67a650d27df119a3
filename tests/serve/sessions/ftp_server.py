"""A worker of `headrace serve` in a thread of its own, and a client that says what it is told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import headrace
from headrace.serve.limits import Limits
from headrace.serve.settings import Settings
from headrace.serve.site import Site
from headrace.serve.worker import Listening, Worker

WAIT_S_MAX = 30.0
NO_LINGER = struct.pack("ii", 1, 0)
Result = TypeVar("Result")


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.005)


class Server:
    """Serves a folder; `port` speaks FTP, `tls_port` FTP that begins with TLS."""

    def __init__(self, settings: Settings, model: str | None, host: str = "127.0.0.1") -> None:
        self.settings = settings
        self.host = host
        self.complaints: list[dict[str, Any]] = []
        self.site = Site(settings)
        self.sockets = {
            protocol: listen(host) for protocol in ("ftp", *(["ftps"] if settings.tls_cert else []))
        }
        self.port = self.sockets["ftp"].getsockname()[1]
        self.tls_port = self.sockets["ftps"].getsockname()[1] if settings.tls_cert else 0
        self.worker: Worker
        self._model = model
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(WAIT_S_MAX)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: headrace.new_event_loop(self._model)) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        self.worker = Worker(self.site, self.loop)
        self._stop = asyncio.Event()
        await self.worker.start([Listening(*each) for each in self.sockets.items()])
        self._ready.set()
        await self._stop.wait()
        await self.worker.close()
        while self.worker.sessions:
            await asyncio.sleep(0.001)

    def call(self, function: Callable[[], Result]) -> Result:
        """Have the loop's thread call it."""
        answer: concurrent.futures.Future[Result] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return answer.result(WAIT_S_MAX)

    def idle(self) -> bool:
        """Nobody is there, and nothing is left of those who were."""
        worker = self.worker
        return self.call(lambda: not (worker.sessions or worker.transfers or worker.lingering))

    def log(self) -> str:
        assert self.settings.log_file is not None
        return Path(self.settings.log_file).read_text()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        self.site.close()


def listen(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock


def make_settings(folder: Path, **changes: Any) -> Settings:
    limits = {key: changes.pop(key) for key in list(changes) if hasattr(Limits(), key)}
    made = Settings(
        str(folder), log_file=str(folder.parent / "log"), xferlog=str(folder.parent / "xferlog")
    )
    return dataclasses.replace(made, limits=Limits(**limits), **changes)


class Client:
    """A control connection: `say()` a command, and be answered."""

    def __init__(self, port: int, host: str = "127.0.0.1", **options: Any) -> None:
        self.host = host
        self.sock: socket.socket = socket.create_connection((host, port), WAIT_S_MAX, **options)
        self.unread = b""

    def read_line(self) -> str:
        while b"\r\n" not in self.unread:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.unread)
            self.unread += data
        line, self.unread = self.unread.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def answer(self) -> str:
        """One whole reply, its lines joined."""
        first = line = self.read_line()
        lines = [first]
        while not re.match(re.escape(first[:3]) + "( |$)", line):
            line = self.read_line()
            lines.append(line)
        return "\n".join(lines)

    def send(self, *commands: str) -> None:
        text = "".join(f"{command}\r\n" for command in commands)
        self.sock.sendall(text.encode("utf-8", "surrogateescape"))

    def say(self, command: str) -> str:
        self.send(command)
        return self.answer()

    def log_in(self, user: str = "anonymous", password: str = "me@") -> Client:
        assert self.answer().startswith("220")
        assert self.say(f"USER {user}").startswith("331")
        assert self.say(f"PASS {password}").startswith("230")
        assert self.say("TYPE I").startswith("200")
        return self

    def passive(self) -> int:
        """The port that the server listens at."""
        answer = self.say("EPSV")
        found = re.match(r"229 .*\(\|\|\|(\d+)\|\)", answer)
        assert found, answer
        return int(found[1])

    def data(self, **options: Any) -> socket.socket:
        """A data connection, by EPSV."""
        sock = socket.socket(self.sock.family, socket.SOCK_STREAM)
        sock.settimeout(WAIT_S_MAX)
        for name, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        sock.connect((self.host, self.passive()))
        return sock

    def retrieve(self, command: str, **options: Any) -> bytes:
        """The bytes that a command sends."""
        with self.data(**options) as sock:
            assert self.say(command).startswith("150")
            data = read_all(sock)
        assert self.answer().startswith("226")
        return data

    def store(self, command: str, data: bytes) -> str:
        """Send bytes; the final reply."""
        with self.data() as sock:
            answer = self.say(command)
            if not answer.startswith("150"):
                return answer
            sock.sendall(data)
        return self.answer()

    def encrypt(self, context: ssl.SSLContext) -> Client:
        """AUTH TLS."""
        assert self.say("AUTH TLS").startswith("234")
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        return self

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_all(sock: socket.socket) -> bytes:
    found = bytearray()
    while data := sock.recv(65536):
        found += data
    return bytes(found)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    sock.close()


def descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


@contextmanager
def serving(settings: Settings, model: str | None = None, **options: Any) -> Iterator[Server]:
    """A server; afterwards nothing of it is left, and nothing went wrong that nobody expected."""
    before = descriptors()
    server = Server(settings, model, **options)
    try:
        yield server
        wait_until(server.idle, "the last session's end")
    finally:
        server.close()
    assert server.complaints == []
    # One that the server did not make: what the interpreter opened meanwhile is no leak of it.
    assert set(descriptors()) <= set(before), descriptors()
