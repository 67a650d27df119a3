"""Servers for the load generator to meet: honest ones, and liars of each kind."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

Handler = Callable[[socket.socket], None]
END = b"end"
LINGER_ZERO = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def serving(handler: Handler, path: str | None = None) -> Iterator[tuple[str, int] | str]:
    """A server with a thread for each connection; it ends when its clients have gone.

    Its address is one of TCP, or that path.
    """
    if path is None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(256)
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            handler(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for thread in threads:
            thread.join(10)


@contextlib.contextmanager
def answering_datagrams(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[str, int]]:
    """A UDP server; what is answered None is lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := ours.recvfrom(65536))[0] != END:
                reply = answer(received[0])
                if reply is not None:
                    ours.sendto(reply, received[1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield ours.getsockname()
        finally:
            ours.sendto(END, ours.getsockname())
            thread.join(10)


def honest(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data.upper())


def echoes(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def byte_by_byte(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(65536):
        for byte in data.upper():
            connection.send(bytes([byte]))


def wrong_byte(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        answer = bytearray(data.upper())
        answer[-1] ^= 1
        connection.sendall(answer)


def doubled(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data.upper() * 2)


def closes_at_once(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.shutdown(socket.SHUT_WR)


def closes_within_reply(connection: socket.socket) -> None:
    data = connection.recv(65536)
    connection.sendall(data.upper()[: len(data) // 2])


def resets(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)


def never_answers(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def http_server(reply: bytes, *, split: bool = False, close: bool = False) -> Handler:
    """Answers each request (they all fit one segment) with ``reply``."""

    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(65536):
            if split:
                for byte in reply:
                    connection.send(bytes([byte]))
            else:
                connection.sendall(reply)
            if close:
                return

    return handle
