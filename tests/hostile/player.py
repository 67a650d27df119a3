"""Plays a plan on a loop, and holds what both protocols see against the ledger.

After each settled step it waits for exactly what the ledger says must have come, lets the loop
turn some more, and looks whether anything else has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ledger import ANY_CONNECTION_ERROR, ANYTHING, Ledger
from plan import CLIENT, SERVER, SMALL_BYTES_MAX, Plan, Step
from proxy import KERNEL_BUFFER_BYTES, Address, Proxy
from recorders import KINDS, OFFSETS, PATTERN, Recorder, StreamRecorder

WAIT_S_MAX = 10.0
# Nobody is told when the last byte has been sent.
LOOK_AGAIN_S = 0.005
# Turns of the loop in which nothing more may come.
QUIET_TURNS = 3
WRITES_AFTER_THE_END = 10


# Steps that await, so that what came before them goes on meanwhile.  So does what comes before
# the proxy stops reading: nobody knows how much it has read by then.
TAKE_TURNS = ("cancel_read", "cancel_drain")


class Difference(AssertionError):
    """What was seen is not what had to be seen."""


@dataclass
class Surroundings:
    """What all sequences have in common."""

    proxy: Proxy
    folder: str
    server_tls: ssl.SSLContext
    client_tls: ssl.SSLContext


class Player:
    def __init__(self, plan: Plan, surroundings: Surroundings) -> None:
        self.plan = plan
        self.surroundings = surroundings
        self.proxy = surroundings.proxy
        self.ledger = Ledger(plan)
        self.seen: list[str] = []
        self.loop = asyncio.get_running_loop()
        self.change = asyncio.Event()
        self.ends = tuple(
            KINDS[kind](side, plan.keep_open[side], self.change.set)
            for side, kind in enumerate(plan.kinds)
        )
        self.doing = "connecting"

    async def play(self) -> list[str]:
        """What was seen: runs on different loops must be equal."""
        try:
            async with self.connection():
                for step in self.plan.steps:
                    await self.take(step)
                await self.settle("the steps")
                await self.end()
        finally:
            self.proxy.end()
        return self.seen

    # The connection.

    @contextlib.asynccontextmanager
    async def connection(self) -> Any:
        server = await self.listen()
        try:
            await self.connect(
                self.proxy.begin(self.plan.family, self.address_of(server), self.tell_from_thread)
            )
            await self.wait_for(
                lambda: self.proxy.is_linked and all(end.has_seen("made") for end in self.ends)
            )
            if self.plan.tls == "start_tls":
                await self.start_tls()
            for end in self.ends:
                sock = end.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            yield
        finally:
            for end in self.ends:
                if end.transport is not None and not end.has_seen("lost"):
                    end.transport.abort()
            server.close()
            await server.wait_closed()
            for end in self.ends:
                await end.finish()

    def tell_from_thread(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.change.set)

    async def listen(self) -> asyncio.Server:
        options: dict[str, Any] = {}
        if self.plan.tls == "ssl":
            options["ssl"] = self.surroundings.server_tls
        if self.plan.family == "tcp":
            return await self.loop.create_server(self.server_end, "127.0.0.1", 0, **options)
        path = f"{self.surroundings.folder}/server"
        return await self.loop.create_unix_server(self.server_end, path, **options)

    def server_end(self) -> Any:
        return self.ends[SERVER]

    def address_of(self, server: asyncio.Server) -> Address:
        address: Address = server.sockets[0].getsockname()
        return address

    async def connect(self, address: Address) -> None:
        options: dict[str, Any] = {}
        if self.plan.tls == "ssl":
            options = {"ssl": self.surroundings.client_tls, "server_hostname": "localhost"}
        make: Callable[[], Any] = lambda: self.ends[CLIENT]  # noqa: E731
        if isinstance(address, str):
            await self.loop.create_unix_connection(make, address, **options)
        else:
            await self.loop.create_connection(make, *address, **options)

    async def start_tls(self) -> None:
        client, server = self.ends
        # The server must be waiting when the first bytes of the handshake come.
        serving = self.loop.create_task(
            self.loop.start_tls(
                server.transport, server, self.surroundings.server_tls, server_side=True
            )
        )
        await asyncio.sleep(0)
        connecting = self.loop.start_tls(
            client.transport, client, self.surroundings.client_tls, server_hostname="localhost"
        )
        transports = await asyncio.gather(connecting, serving)
        for end, transport in zip(self.ends, transports, strict=True):
            end.transport = transport
            if isinstance(end, StreamRecorder):
                # As StreamWriter.start_tls() does, in every version.
                end.writer._transport = end.reader._transport = end._transport = transport
                end._over_ssl = True

    # The steps.

    async def take(self, step: Step) -> None:
        if step.what in TAKE_TURNS or step.value == "held":
            await self.settle(f"what comes before {step}")
        if not self.ledger.take(step):
            return
        self.doing = str(step)
        end = self.ends[step.side]
        act = getattr(self, f"_{step.what}", None)
        outcome: object = None
        try:
            outcome = act(step, end) if act else getattr(end.transport, step.what)()
            if isinstance(outcome, Awaitable):
                await outcome
            outcome = None
        except (RuntimeError, ValueError, OSError, NotImplementedError) as error:
            outcome = type(error).__name__
        if self.ledger.sides[step.side].ending == "reset" and step.what == "write_eof":
            outcome = "whatever"  # asyncio passes on what shutdown(2) says, if it gets that far
        self.seen.append(f"{step}: {outcome}")
        if step.settled:
            await self.settle(str(step))

    def _write(self, step: Step, end: Recorder) -> None:
        assert isinstance(step.value, int)
        side = self.ledger.sides[step.side]
        stop = OFFSETS[step.side] + side.written
        data = PATTERN[stop - step.value : stop]
        # What some version of asyncio gets wrong is left out: writelines() of nothing, after the
        # end or beyond the high-water mark, and memory that the caller changes while it waits.
        is_taken_at_once = not side.is_blocked and side.fresh <= SMALL_BYTES_MAX
        has_variety = is_taken_at_once and not side.is_lost and len(data) >= 3
        kind = (len(data) + side.written) % 4 if has_variety else 2
        if kind == 0:
            third = len(data) // 3
            middle = bytearray(data[third : 2 * third])
            end.transport.writelines([data[:third], middle, memoryview(data)[2 * third :]])
        elif kind == 1:
            changing = bytearray(data)
            end.transport.write(changing)
            changing[:] = bytes(len(changing))  # it is ours again
        else:
            end.transport.write(data if kind == 2 else memoryview(data))

    def _flow(self, step: Step, end: Recorder) -> None:
        assert isinstance(step.value, str)
        self.proxy.set_flow(step.side, step.value)

    def _pause(self, step: Step, end: Recorder) -> None:
        end.is_paused = self.ledger.sides[step.side].is_paused
        end.transport.pause_reading()

    def _resume(self, step: Step, end: Recorder) -> None:
        end.is_paused = self.ledger.sides[step.side].is_paused
        end.transport.resume_reading()

    def _arm(self, step: Step, end: Recorder) -> None:
        assert isinstance(step.value, str)
        end.armed = step.value

    def _limits(self, step: Step, end: Recorder) -> None:
        assert isinstance(step.value, int)
        end.transport.set_write_buffer_limits(step.value)

    def _drain(self, step: Step, end: StreamRecorder) -> None:
        end.drain()

    def _cancel_drain(self, step: Step, end: StreamRecorder) -> Awaitable[None]:
        return end.cancel_drain()

    def _cancel_read(self, step: Step, end: StreamRecorder) -> Awaitable[None]:
        return end.cancel_read()

    def _half_close(self, step: Step, end: Recorder) -> None:
        self.proxy.half_close(step.side)

    def _reset(self, step: Step, end: Recorder) -> None:
        self.proxy.reset(step.side)

    # Waiting, and looking.

    async def settle(self, after: str) -> None:
        self.ledger.settle()
        await self.wait_for(lambda: not self.missing())
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)
        missing = self.missing()
        violations = [violation for end in self.ends for violation in end.violations]
        if missing or violations:
            raise Difference("; ".join(missing + violations))
        self.seen.append(f"after {after}: {self.state(CLIENT)} | {self.state(SERVER)}")

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        end = self.loop.time() + WAIT_S_MAX
        while not condition():
            if self.loop.time() > end:
                raise Difference(f"never came: {'; '.join(self.missing())}")
            self.change.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.change.wait(), LOOK_AGAIN_S)

    def missing(self) -> list[str]:
        return [line for side in (CLIENT, SERVER) for line in self.missing_at(side)]

    def missing_at(self, number: int) -> list[str]:
        """What *number* sees otherwise than the ledger says."""
        side, end = self.ledger.sides[number], self.ends[number]
        found: list[str] = []

        def compare(what: str, expected: object, actual: object) -> None:
            if expected != actual:
                found.append(f"{('client', 'server')[number]}: {what} is {actual}, not {expected}")

        if end.received not in side.received:
            compare("count received", str(side.received), end.received)
        compare("connection_lost()", side.is_lost, end.has_seen("lost"))
        compare("is_closing()", side.is_closing, end.transport.is_closing())
        compare("is paused", side.is_paused, end.is_paused)
        if side.is_lost:
            compare("error", side.error, error_as(side.error, end.error))
        elif not self.plan.tls:
            compare("pause_writing()", side.is_blocked, end.is_write_paused)
            has_unsent = end.transport.get_write_buffer_size() > 0
            compare("something unsent", side.is_blocked, has_unsent)
        if self.plan.tls:
            # The proxy sees records; and who says goodbye hears eof_received() in some versions.
            return found
        compare("eof_received()", side.has_seen_eof, end.has_seen("eof"))
        if not (side.is_held or side.is_torn or side.is_lost):
            compare("count taken by the proxy", side.written, self.proxy.taken(number))
        if self.is_all_passed(number) and self.proxy.passed(number) not in side.passed:
            compare("count passed", str(side.passed), self.proxy.passed(number))
        return found

    def is_all_passed(self, number: int) -> bool:
        """Does the other side's kernel take what this one has written?"""
        side, peer = self.ledger.sides[number], self.ledger.sides[1 - number]
        unread = side.passed.high - peer.received.low
        return not peer.is_lost and (peer.is_listening or unread <= SMALL_BYTES_MAX)

    def state(self, number: int) -> str:
        """What two loops must agree on."""
        side, end = self.ledger.sides[number], self.ends[number]
        is_known = side.received.low == side.received.high
        count = end.received if is_known else "?"
        error = f" {error_as(side.error, end.error)}" if end.has_seen("lost") else ""
        closing = " closing" if end.transport.is_closing() else ""
        events = [event for event in end.events if event != "eof" or not self.plan.tls]
        return f"{count} {' '.join(events)}{error}{closing}"

    # The end of every sequence.

    async def end(self) -> None:
        """Let everything through, close both ends, write some more."""
        for what, value in (("flow", "straight"), ("resume", 0), ("close", 0)):
            for side in (CLIENT, SERVER):
                self.ledger.sides[side].armed = self.ends[side].armed = ""
                await self.take(Step(what, side, value))
        for side, end in zip(self.ledger.sides, self.ends, strict=True):
            if not self.plan.tls and not side.may_have_closed_late:
                self.seen.append(f"warned: {is_warned_of_writes(end.transport)}")
                end.transport.close()
                end.transport.abort()
        await self.settle("the end")


def is_warned_of_writes(transport: asyncio.Transport) -> bool:
    """Does asyncio's log tell a program that goes on writing to a connection that is lost?"""
    warned: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = warned.append  # type: ignore[method-assign]
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        for _ in range(WRITES_AFTER_THE_END):
            with contextlib.suppress(RuntimeError):  # after write_eof()
                transport.write(b"too late")
    finally:
        logger.removeHandler(handler)
    return any("socket.send() raised" in record.getMessage() for record in warned)


def error_as(expected: str, error: BaseException | None) -> str:
    """The name of *error*, as exactly as *expected* asks."""
    if expected == ANYTHING and (error is None or isinstance(error, ConnectionError)):
        return ANYTHING
    if expected == ANY_CONNECTION_ERROR and isinstance(error, ConnectionError):
        return ANY_CONNECTION_ERROR
    return "None" if error is None else type(error).__name__
