"""What is loaded: our service behind a ready line, or a URL of the user's own service."""

from __future__ import annotations

import json
import select
import socket
import time
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from headrace.lab.process import ServerProcess

LISTENING = b"listening on "
READY_S = 30.0
ANSWER_S = 10.0
FREE_S_MAX = 10.0
LOOK_S = 0.02


class ServerFailedError(Exception):
    """The server ended, or did not get ready in time; the message is a reason for a row."""


class BadURLError(ValueError):
    """A URL that cannot be loaded; the message says why."""


@dataclass(frozen=True)
class Target:
    """A place on this machine that answers HTTP."""

    host: str
    port: int
    path: str
    address: str

    def request(self) -> bytes:
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            "User-Agent: headrace-compare\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"
        ).encode("ascii")


def parse_url(url: str) -> Target:
    """The target of an ``http://`` URL.

    Raises:
        BadURLError: not http, no host, not printable, or not on this machine.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise BadURLError(f"bad URL {url!r}: {error}") from error
    if parts.scheme != "http" or not parts.hostname:
        raise BadURLError(f"bad URL {url!r}: expected http://HOST:PORT/PATH")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise BadURLError(f"bad URL {url!r}: only printable ASCII, the rest %-encoded")
    try:
        found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise BadURLError(
            f"bad URL {url!r}: {parts.hostname!r} is not found ({error.strerror}); it must be this"
            " machine's loopback, such as 127.0.0.1"
        ) from error
    address = str(found[0][4][0])
    if not address.startswith("127."):
        raise BadURLError(f"bad URL {url!r}: {address} is not this machine's loopback (127.x.x.x)")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, port, path, address)


def is_readable(file: IO[bytes], seconds: float) -> bool:
    """Whether there is something to read, or its end; waits for so long.

    poll(), because a process that loads a thousand connections has descriptors beyond select()'s.
    """
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def next_line(server: ServerProcess, seconds: float) -> bytes:
    """The next line that the server prints."""
    output = server.popen.stdout
    assert output is not None
    readable = is_readable(output, seconds)
    line = output.readline() if readable else b""
    if not line:
        if readable:
            server.popen.wait()
            raise ServerFailedError(server.last_words())
        raise ServerFailedError(f"no answer from the server within {seconds:g} s")
    return line


def read_line(server: ServerProcess, seconds: float) -> dict[str, Any]:
    """The next line of JSON that the server prints."""
    return parse_line(next_line(server, seconds))


def parse_line(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ServerFailedError(f"the server printed {line[:80]!r} instead of JSON") from error
    assert isinstance(found, dict)
    return found


def wait_ready(server: ServerProcess) -> tuple[str, int]:
    """The address of our service, once it listens; a raw program says it in words for people."""
    line = next_line(server, READY_S)
    if line.startswith(LISTENING):
        host, port = line[len(LISTENING) :].decode().strip().split(":")
        return host, int(port)
    return "127.0.0.1", int(parse_line(line)["port"])


def ask_report(server: ServerProcess) -> dict[str, Any]:
    """What our service says about itself: the loop's statistics and its exceptions."""
    assert server.popen.stdin is not None
    try:
        server.popen.stdin.write(b"report\n")
        server.popen.stdin.flush()
    except OSError as error:
        server.popen.wait()
        raise ServerFailedError(server.last_words()) from error
    return read_line(server, ANSWER_S)


def require_free(target: Target) -> None:
    """A server that is there already would be measured instead of the command.

    Raises:
        BadURLError: something listens on the URL's port.
    """
    with socket.socket() as probe:
        if probe.connect_ex((target.address, target.port)) == 0:
            raise BadURLError(f"port {target.port} is taken already: stop that server first")


def wait_free(target: Target) -> None:
    """Waits until the last round's server has let go of the port.

    The kernel takes a ring apart in a worker of its own, after its process has ended; what that
    had listened on, and accepted in advance, lives on until then.

    Raises:
        BadURLError: something listens on the URL's port still.
    """
    end_s = time.monotonic() + FREE_S_MAX
    while time.monotonic() < end_s:
        try:
            return require_free(target)
        except BadURLError:
            time.sleep(LOOK_S)
    require_free(target)
