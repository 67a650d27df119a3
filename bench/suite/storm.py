"""A storm: so many connections begun at the same instant, and how long until the last is served.

What decides is the queue of connections that the kernel has established and the loop has not
accepted yet.  Where that is full the kernel drops the client's SYN, and the client sends it again
after a second, then after three more: so a storm takes milliseconds, or seconds.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from headrace.lab.process import server_process
from headrace.lab.target import ServerFailedError, wait_ready
from suite.cell import Cell, Failure, Measure, Plan, Sample
from suite.contenders import Contender, loops
from suite.echo import SERVICE
from suite.machine import LOAD_AND_SERVER
from suite.station import variables

PATIENCE_S = 40.0
MESSAGE = b"x"
ROUNDS_MAX = 3


def storm_cell(name: str, connections: int) -> Cell:
    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        command = [sys.executable, str(SERVICE), "--loop", contender.loop, "--default-backlog"]
        try:
            with server_process(command, variables(), LOAD_AND_SERVER, alone=False) as server:
                address = wait_ready(server)
                yield lambda: Sample({"ms": 1000 * storm(address, connections)})
        except (OSError, ServerFailedError) as error:
            raise Failure(str(error)) from error

    return Cell(name, prepare, loops(), "ms", ("ms",), quick=False, rounds_max=ROUNDS_MAX)


def storm(address: tuple[str, int], connections: int) -> float:
    """Seconds from the first connect to the last reply.

    Raises:
        Failure: not all were served in time, or the server refused one.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(connections)]
        began_s = time.monotonic()
        for sock in sockets:
            sock.setblocking(False)
            if sock.connect_ex(address) not in (0, errno.EINPROGRESS):
                raise Failure("a connect was refused")
        serve_all(sockets, began_s + PATIENCE_S)
        return time.monotonic() - began_s


def serve_all(sockets: Sequence[socket.socket], end_s: float) -> None:
    """Each sends a byte once it is connected, and waits for its reply."""
    waiting = {sock.fileno(): sock for sock in sockets}
    with contextlib.closing(select.epoll()) as poll:
        for fd in waiting:
            poll.register(fd, select.EPOLLOUT)
        while waiting:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                count = f"{len(waiting):,} of {len(sockets):,}"
                raise Failure(f"{count} not served in {PATIENCE_S:g} s")
            for fd, events in poll.poll(left_s):
                if events & select.EPOLLOUT:
                    send(waiting[fd])
                    poll.modify(fd, select.EPOLLIN)
                else:
                    receive(waiting.pop(fd))
                    poll.unregister(fd)


def send(sock: socket.socket) -> None:
    try:
        sock.send(MESSAGE)
    except OSError as error:
        raise Failure(f"a connection failed: {error.strerror}") from error


def receive(sock: socket.socket) -> None:
    try:
        if sock.recv(len(MESSAGE)) != MESSAGE:
            raise Failure("a connection was closed by the server")
    except OSError as error:
        raise Failure(f"a connection failed: {error.strerror}") from error
