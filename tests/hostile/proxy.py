"""The hostile peer between the two ends: a thread with plain sockets, on no event loop.

It listens, and connects onwards for each connection that comes.  What it reads it keeps without
limit and hands over as its flow says: straight, in splinters, late, in one piece, or not at all
until told otherwise.  A command is carried out before the method returns, so that what the test
does next comes after it for the kernel too.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

RECEIVE_BYTES = 256 * 1024
# Smaller than what a test calls large, so that a write to a proxy that does not read blocks.
KERNEL_BUFFER_BYTES = 64 * 1024
SPLINTER_BYTES = (1, 1, 2, 3, 7, 1, 40, 1, 500, 1)
# Of one flow; what is longer goes on straight.
SPLINTERS_MAX = 30
DELAY_S = 0.0002
# How long nothing must come before what was kept is one piece.
QUIET_MS = 1
COMMAND_S_MAX = 20.0

Address = tuple[str, int] | str


class Direction:
    """What comes from one end and goes to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.flow = "straight"
        self.kept = bytearray()
        self.taken = 0
        self.passed = 0
        self.splinters = 0
        self.is_quiet = True
        self.is_read_to_end = False
        self.discards = False
        self.is_ending = False
        self.has_ended = False

    def wants_read(self) -> bool:
        return not self.is_read_to_end and self.flow != "held"

    def wants_write(self) -> bool:
        if self.kept:
            return self.flow != "coalesce" or self.is_quiet
        return self.is_ending and not self.has_ended

    def waits_for_quiet(self) -> bool:
        return bool(self.kept) and self.flow == "coalesce" and not self.is_quiet

    def read(self) -> None:
        try:
            data = self.source.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # for the other side an end like any other
        if not data:
            self.is_read_to_end = self.is_ending = True
        self.taken += len(data)
        if not self.discards:
            self.kept += data
            self.is_quiet = False

    def write(self) -> None:
        """Hand over the next piece, or the end."""
        try:
            if self.kept:
                self.write_piece()
            if not self.kept and self.is_ending and not self.has_ended:
                self.has_ended = True
                self.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            # Nobody is there any more.  The source does not learn it from us.
            self.discard()

    def write_piece(self) -> None:
        size = len(self.kept)
        if self.flow in ("split", "delay") and self.splinters < SPLINTERS_MAX:
            size = SPLINTER_BYTES[self.splinters % len(SPLINTER_BYTES)]
            self.splinters += 1
        count = self.sink.send(self.kept[:size])
        self.passed += count
        del self.kept[:count]
        if self.flow == "delay" and self.kept:
            time.sleep(DELAY_S)

    def discard(self) -> None:
        """Read on, so that the source is not held up, and forget it."""
        self.kept.clear()
        self.discards = True
        self.has_ended = True

    def cut(self) -> None:
        """Hand over what was read, then the end; forget what comes now."""
        self.flow = "straight"
        self.discards = True
        self.is_ending = True


class Link:
    """The two sockets of one connection: towards the client, towards the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets = (client, server)
        # By the side that sends: 0 is the client.
        self.directions = (Direction(client, server), Direction(server, client))
        for sock in self.sockets:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


class Proxy:
    def __init__(self, folder: str) -> None:
        self._listeners = {
            "tcp": listening(socket.AF_INET, ("127.0.0.1", 0)),
            "unix": listening(socket.AF_UNIX, os.path.join(folder, "proxy")),
        }
        self._target: tuple[int, Address] | None = None
        self._link: Link | None = None
        self._tell: Callable[[], object] = lambda: None
        self._commands: list[tuple[Callable[[], Any], threading.Event]] = []
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._is_running = True
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hostile proxy", daemon=True)
        self._thread.start()

    # What a test says.

    def begin(self, family: str, target: Address, tell: Callable[[], object]) -> Address:
        """The address that leads to *target*, for one connection; *tell* hears what happens."""

        def begin() -> None:
            kind = socket.AF_UNIX if family == "unix" else socket.AF_INET
            self._target = (kind, target)
            self._tell = tell

        self._do(begin)
        address: Address = self._listeners[family].getsockname()
        return address

    def end(self) -> None:
        """Forget the connection, whatever state it is in."""

        def end() -> None:
            self._tell = lambda: None
            if self._link is not None:
                self._link.close()
            self._link = None

        self._do(end)

    def set_flow(self, side: int, flow: str) -> None:
        def set_flow() -> None:
            direction = self._direction(side)
            direction.flow = flow
            direction.splinters = 0

        self._do(set_flow)

    def half_close(self, side: int) -> None:
        """End what *side* receives, after what was read for it already."""
        self._do(lambda: self._direction(1 - side).cut())

    def reset(self, side: int) -> None:
        """*side* gets a RST; for the other one it is as if *side* had ended."""

        def reset() -> None:
            assert self._link is not None
            self._direction(side).cut()
            self._direction(1 - side).cut()
            self._direction(1 - side).discard()
            sock = self._link.sockets[side]
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

        self._do(reset)

    @property
    def is_linked(self) -> bool:
        """Is there a connection on both sides?"""
        return self._link is not None

    def taken(self, side: int) -> int:
        """How many bytes of *side* have been read."""
        return self._direction(side).taken

    def passed(self, side: int) -> int:
        """How many bytes of *side* the other one's kernel has."""
        return self._direction(side).passed

    def close(self) -> None:
        self.end()
        self._is_running = False
        self._do(lambda: None)
        self._thread.join(COMMAND_S_MAX)
        for sock in (*self._listeners.values(), self._wake_reader, self._wake_writer):
            sock.close()

    # What the thread does.

    def _do(self, command: Callable[[], Any]) -> None:
        done = threading.Event()
        self._commands.append((command, done))
        self._wake_writer.send(b"x")
        assert done.wait(COMMAND_S_MAX), "the proxy's thread hangs"
        if self._error is not None:
            raise self._error

    def _direction(self, side: int) -> Direction:
        assert self._link is not None
        return self._link.directions[side]

    def _run(self) -> None:
        while self._is_running:
            try:
                self._turn()
            except BaseException as error:
                self._error = error
                raise
            finally:
                self._run_commands()

    def _run_commands(self) -> None:
        while self._commands:
            command, done = self._commands.pop(0)
            try:
                command()
            except BaseException as error:
                self._error = error
            done.set()

    def _turn(self) -> None:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        for listener in self._listeners.values():
            poll.register(listener, select.POLLIN)
        wanted = self._register(poll)
        directions = self._link.directions if self._link is not None else ()
        waiting = [direction for direction in directions if direction.waits_for_quiet()]
        events = poll.poll(QUIET_MS if waiting else None)
        if not events:
            for direction in waiting:
                direction.is_quiet = True
        for fd, _ in events:
            if fd == self._wake_reader.fileno():
                self._wake_reader.recv(1024)
            elif fd in wanted:
                for act in wanted[fd]:
                    act()
                self._tell()
            else:
                self._accept(fd)

    def _register(self, poll: select.poll) -> dict[int, list[Callable[[], None]]]:
        """Ask for what the directions wait for; what to do about each descriptor."""
        wanted: dict[int, list[Callable[[], None]]] = {}
        masks: dict[int, int] = {}

        def want(sock: socket.socket, mask: int, act: Callable[[], None]) -> None:
            fd = sock.fileno()
            if fd >= 0:
                masks[fd] = masks.get(fd, 0) | mask
                wanted.setdefault(fd, []).append(act)

        for direction in self._link.directions if self._link is not None else ():
            if direction.wants_read():
                want(direction.source, select.POLLIN, direction.read)
            if direction.wants_write():
                want(direction.sink, select.POLLOUT, direction.write)
        for fd, mask in masks.items():
            poll.register(fd, mask)
        return wanted

    def _accept(self, fd: int) -> None:
        listener = next(sock for sock in self._listeners.values() if sock.fileno() == fd)
        client, _ = listener.accept()
        assert self._target is not None
        family, address = self._target
        server = socket.socket(family, socket.SOCK_STREAM)
        shrink(server)
        server.connect(address)
        self._link = Link(client, server)
        self._tell()


def listening(family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    shrink(sock)
    sock.bind(address)
    sock.listen()
    return sock


def shrink(sock: socket.socket) -> None:
    """Small kernel buffers, for what is accepted on it too."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
