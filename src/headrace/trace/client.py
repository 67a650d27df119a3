"""The client of the traced request: a plain blocking socket that notes what it does, and when."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.trace.service import HOST

PATIENCE_S = 10
"""So long one call of the client may take."""
READ_BYTES = 1 << 20
WARM_UP_REQUESTS = 5


class NoAnswerError(Exception):
    """The service did not answer as it should; the message says how."""


@dataclass(frozen=True)
class Request:
    """One request as its client saw it, in nanoseconds of CLOCK_MONOTONIC."""

    begin: int
    """It begins to wait: nothing is under way."""
    send_start: int
    send_end: int
    first_answer: int
    answered: int


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), PATIENCE_S) as connection:
        # The kernel's own limits: with settimeout() Python would call poll(2) before each call.
        connection.settimeout(None)
        limit = struct.pack("ll", PATIENCE_S, 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, limit)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def ask(port: int, size: int, delay_s: float, count: int) -> list[Request]:
    """So many requests of *size* bytes after some to warm up, each after a pause of *delay_s*.

    Raises:
        NoAnswerError: the service ended, answered something else, or not in time.
    """
    data = b"a" * size
    try:
        with connected(port) as connection:
            for _ in range(WARM_UP_REQUESTS):
                one(connection, data, 0)
            return [one(connection, data, delay_s) for _ in range(count)]
    except BlockingIOError:
        raise NoAnswerError(f"the service did not answer within {PATIENCE_S} s") from None
    except OSError as error:
        raise NoAnswerError(f"the service: {error.strerror or error}") from error


def one(connection: socket.socket, data: bytes, delay_s: float) -> Request:
    begin = time.monotonic_ns()
    time.sleep(delay_s)
    send_start = time.monotonic_ns()
    connection.sendall(data)
    send_end = time.monotonic_ns()
    answer = connection.recv(READ_BYTES)
    first_answer = time.monotonic_ns()
    pieces, received = [answer], len(answer)
    while answer and received < len(data):
        answer = connection.recv(READ_BYTES)
        pieces.append(answer)
        received += len(answer)
    answered = time.monotonic_ns()
    if b"".join(pieces) != data.upper():
        raise NoAnswerError(f"the service answered {received:,} bytes, not the {len(data):,} asked")
    return Request(begin, send_start, send_end, first_answer, answered)
