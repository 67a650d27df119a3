"""A server on any loop in a thread of its own, and what asks it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import headrace
from headrace.serve.http.session import Session
from headrace.serve.site import Site

WAIT_S_MAX = 30.0
CERTIFICATE = Path(__file__).parents[2] / "conformance" / "localhost.pem"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A site served over HTTP by a thread."""

    def __init__(
        self, site: Site, loop_name: str | None, *, tls: bool = False, status_only: bool = False
    ) -> None:
        self.site = site
        self.sessions: set[Any] = set()
        self.problems: list[dict[str, Any]] = []
        self._loop_name = loop_name
        self.tls = tls
        self._status_only = status_only
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(WAIT_S_MAX), self.problems
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()
        assert not self.problems, self.problems
        assert not self.sessions

    def _run(self) -> None:
        if self._loop_name == "asyncio":
            asyncio.run(self._serve())
        else:
            headrace.run(self._serve(), model=self._loop_name)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._stop = asyncio.Event()
        server = await self.loop.create_server(
            lambda: Session(
                self.site,
                registry=self.sessions,
                status_only=self._status_only,
                implicit_tls=self.tls,
            ),
            "127.0.0.1",
            0,
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for session in list(self.sessions):
            session.abort()
        while self.sessions:
            await asyncio.sleep(0.001)
        await self.loop.shutdown_default_executor()

    def call(self, function: Callable[[], Any]) -> Any:
        """Run it in the loop's thread; its answer."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(WAIT_S_MAX)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds, looked at in the loop's thread."""

        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        asyncio.run_coroutine_threadsafe(wait(), self.loop).result(WAIT_S_MAX)

    def check_later(self, seconds: float) -> None:
        """All sessions are checked, as if so much time had gone by."""

        def check() -> None:
            for session in list(self.sessions):
                session.check(self.loop.time() + seconds)

        self.call(check)

    # Clients.

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S_MAX)
        if not self.tls:
            return sock
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        context.check_hostname = False
        return context.wrap_socket(sock)

    def raw(self, data: bytes) -> bytes:
        """Send it, say that there is no more, and read everything."""
        with self.connect() as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def ask(self, method: str, target: str, body: Any = None, **fields: str) -> Response:
        """One request with http.client; underscores in names are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S_MAX)
        with contextlib.closing(connection):
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.putrequest(method, target, skip_accept_encoding=True)
            if body is not None and "Content-Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Response(response.status, lower(response), response.read())


def lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def read_all(sock: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


class _File:
    """What http.client asks of a socket."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self._file.close = lambda: None  # type: ignore[method-assign]

    def makefile(self, _: str) -> io.BytesIO:
        return self._file


def responses(data: bytes, methods: str = "") -> list[Response]:
    """All responses in *data*; *methods* are the requests', all GET if not told."""
    file = _File(data)
    found = []
    names = methods.split()
    while file._file.tell() < len(data):
        method = names[len(found)] if len(found) < len(names) else "GET"
        response = http.client.HTTPResponse(file, method=method)  # type: ignore[arg-type]
        response.begin()
        found.append(Response(response.status, lower(response), response.read()))
    return found
