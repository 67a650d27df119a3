"""Servers for the load generator to meet: honest ones, and liars of each kind."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

Handler = Callable[[socket.socket], None]
LINGER_ZERO = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[tuple[str, int]]:
    """A server with a thread for each connection; it ends when its clients have gone."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
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


def honest(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data.upper())


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
