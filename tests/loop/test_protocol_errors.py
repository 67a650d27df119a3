"""A protocol's callback raises: the error is reported or handed on, and stays that connection's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

LARGE = b"x" * (4 * 1024 * 1024)
SEND_BUFFER = 64 * 1024


class MistakeError(Exception):
    pass


class Faulty(asyncio.Protocol):
    """Raises *error* in the callback named *where*; remembers its end."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where = where
        self.error = error
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()
        self.made = asyncio.Event()
        self.raised = asyncio.Event()
        self.buffer = bytearray(100)

    def may_raise(self, where: str) -> None:
        if where == self.where:
            self.raised.set()
            raise self.error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.set()
        self.may_raise("connection_made")

    def data_received(self, data: bytes) -> None:
        if self.where in ("pause_writing", "resume_writing"):
            # Else the kernel may take all: its buffer begins as what it remembers of the peer.
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self.transport.write(LARGE)
        self.may_raise("data_received")

    def eof_received(self) -> bool:
        self.may_raise("eof_received")
        return True

    def pause_writing(self) -> None:
        self.may_raise("pause_writing")

    def resume_writing(self) -> None:
        self.may_raise("resume_writing")

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)
        self.may_raise("connection_lost")


class FaultyBuffered(Faulty, asyncio.BufferedProtocol):
    def get_buffer(self, size_hint: int) -> bytearray:
        self.may_raise("get_buffer")
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        self.may_raise("buffer_updated")


class Echo(Faulty):
    def __init__(self) -> None:
        super().__init__("nowhere", MistakeError())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> bool:
        return False


async def drain(sock: socket.socket) -> bytes:
    """Everything until the peer ends or resets."""
    loop = asyncio.get_running_loop()
    received = []
    try:
        while data := await loop.sock_recv(sock, 1 << 20):
            received.append(data)
    except ConnectionResetError:
        pass
    return b"".join(received)


async def connect_to(protocol_factory: Any) -> tuple[Any, socket.socket, asyncio.Server]:
    """A server's protocol, its client's socket, and the server."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def factory() -> asyncio.BaseProtocol:
        protocol = protocol_factory()
        made.set_result(protocol)
        return protocol

    server = await loop.create_server(factory, "127.0.0.1", 0)
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, server.sockets[0].getsockname())
    protocol = await made
    await protocol.made.wait()
    return protocol, sock, server


FATAL = {
    "data_received": Faulty,
    "eof_received": Faulty,
    "get_buffer": FaultyBuffered,
    "buffer_updated": FaultyBuffered,
}


@pytest.mark.parametrize("where", FATAL)
def test_callback_that_raises_ends_its_connection_and_is_reported(
    run, bystander, complaints, where
):
    error = MistakeError(where)

    async def main():
        async with bystander():
            protocol, sock, server = await connect_to(lambda: FATAL[where](where, error))
            with sock:
                await asyncio.get_running_loop().sock_sendall(sock, b"data")
                if where == "eof_received":
                    sock.shutdown(socket.SHUT_WR)
                assert await protocol.lost is error
                assert await drain(sock) == b""
            server.close()
            await server.wait_closed()

    run(main())
    (complaint,) = complaints
    assert complaint["message"] == f"Fatal error: protocol.{where}() call failed."
    assert complaint["exception"] is error
    assert complaint["transport"] is not None
    assert isinstance(complaint["protocol"], Faulty)
    complaints.clear()


@pytest.mark.parametrize("where", FATAL)
def test_callback_that_meets_a_full_disk_hands_the_error_to_connection_lost(run, bystander, where):
    """An OSError of the protocol's own: as asyncio, connection_lost() is where it shows."""

    class Saving(FATAL[where]):
        def may_raise(self, here: str) -> None:
            if here == self.where:
                with open("/dev/full", "wb") as file:
                    file.write(b"data")

    async def main():
        async with bystander():
            protocol, sock, server = await connect_to(lambda: Saving(where, MistakeError()))
            with sock:
                await asyncio.get_running_loop().sock_sendall(sock, b"data")
                if where == "eof_received":
                    sock.shutdown(socket.SHUT_WR)
                assert "No space left on device" in str(await protocol.lost)
                assert await drain(sock) == b""
            server.close()
            await server.wait_closed()

    run(main())


def test_connection_made_that_raises_is_reported_and_the_connection_goes_on(
    run, bystander, complaints
):
    error = MistakeError("connection_made")

    async def main():
        async with bystander():
            protocol, sock, server = await connect_to(lambda: Faulty("connection_made", error))
            with sock:
                # As asyncio: it is one callback that failed; whoever wants the end asks for it.
                protocol.transport.write(b"still here")
                assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"still here"
                protocol.transport.close()
                assert await protocol.lost is None
            server.close()
            await server.wait_closed()

    run(main())
    (complaint,) = complaints
    assert complaint["message"].startswith("Exception in callback")
    assert complaint["exception"] is error
    complaints.clear()


def test_connection_lost_that_raises_is_reported_and_the_descriptor_is_closed(
    run, bystander, complaints
):
    error = MistakeError("connection_lost")

    async def main():
        async with bystander():
            protocol, sock, server = await connect_to(lambda: Faulty("connection_lost", error))
            with sock:
                protocol.transport.abort()
                assert await protocol.lost is None
                assert await drain(sock) == b""
            server.close()
            await server.wait_closed()

    run(main())
    (complaint,) = complaints
    assert complaint["message"].startswith("Exception in callback")
    assert complaint["exception"] is error
    complaints.clear()


@pytest.mark.parametrize("where", ["pause_writing", "resume_writing"])
def test_flow_control_callback_that_raises_is_reported_and_no_byte_is_lost(
    run, bystander, complaints, where
):
    error = MistakeError(where)

    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            protocol, sock, server = await connect_to(lambda: Faulty(where, error))
            with sock:
                await loop.sock_sendall(sock, b"go")
                received = 0
                while received < len(LARGE):
                    received += len(await loop.sock_recv(sock, 1 << 20))
                await protocol.raised.wait()
                protocol.transport.close()
                assert await drain(sock) == b""
            assert await protocol.lost is None
            server.close()
            await server.wait_closed()

    run(main())
    (complaint,) = complaints
    assert complaint["message"] == f"protocol.{where}() failed"
    assert complaint["exception"] is error
    assert complaint["protocol"].where == where
    complaints.clear()


def test_protocol_factory_that_raises_is_reported_and_the_server_goes_on(
    headrace_run, bystander, complaints
):
    """asyncio says so in debug mode only, and leaves the connection to the collector."""
    error = MistakeError("factory")
    attempts = []

    def factory() -> asyncio.Protocol:
        attempts.append(1)
        if len(attempts) == 1:
            raise error
        return Echo()

    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            server = await loop.create_server(factory, "127.0.0.1", 0)
            with socket.socket() as refused, socket.socket() as served:
                for sock in (refused, served):
                    sock.setblocking(False)
                    await loop.sock_connect(sock, server.sockets[0].getsockname())
                assert await drain(refused) == b""
                await loop.sock_sendall(served, b"hello")
                assert await loop.sock_recv(served, 100) == b"hello"
            server.close()
            await server.wait_closed()

    headrace_run(main())
    assert [entry["exception"] for entry in complaints] == [error]
    complaints.clear()


class Counting(Faulty):
    """Raises once, and counts what it gets."""

    size = 0

    def may_raise(self, where: str) -> None:
        if where == self.where:
            self.where = "nowhere"
            raise self.error

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        self.may_raise("data_received")

    def eof_received(self) -> bool:
        return False


@pytest.mark.parametrize("where", ["connection_made", "data_received", "connection_lost"])
@pytest.mark.parametrize("error_type", [KeyboardInterrupt, SystemExit])
def test_callback_that_ends_the_program_ends_it_and_the_loop_can_go_on(
    loop, run, error_type, where
):
    made = {}
    ran = []

    def factory() -> asyncio.Protocol:
        made["protocol"] = Counting(where, error_type(where))
        return made["protocol"]

    async def provoke():
        loop.call_soon(loop.call_soon, ran.append, "queued")
        made["server"] = await loop.create_server(factory, "127.0.0.1", 0)
        made["sock"] = socket.create_connection(made["server"].sockets[0].getsockname())
        made["sock"].setblocking(False)
        made["sending"] = loop.create_task(send_all())
        await loop.create_future()

    async def send_all():
        await loop.sock_sendall(made["sock"], LARGE)
        made["sock"].shutdown(socket.SHUT_WR)

    async def end():
        await made["sending"]
        assert await made["protocol"].lost is None
        assert made["protocol"].size == len(LARGE)
        assert ran == ["queued"]
        made["sock"].close()
        made["server"].close()
        await made["server"].wait_closed()

    provoking = loop.create_task(provoke())
    with pytest.raises(error_type, match=where):
        loop.run_until_complete(provoking)
    provoking.cancel()
    run(end())


def test_callback_that_ends_the_program_leaves_the_other_direction_alive(loop, run):
    """One report said readable and writable; the reader raised, and the writer still waits."""
    made = {}

    class Talkative(Counting):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(LARGE)

    def factory() -> asyncio.Protocol:
        made["protocol"] = Talkative("data_received", KeyboardInterrupt("now"))
        return made["protocol"]

    async def begin():
        made["server"] = await loop.create_server(factory, "127.0.0.1", 0)
        made["sock"] = socket.create_connection(made["server"].sockets[0].getsockname())
        while "protocol" not in made:
            await asyncio.sleep(0)
        await made["protocol"].made.wait()

    async def end():
        made["protocol"].transport.write_eof()
        assert size + len(await drain(made["sock"])) == len(LARGE)
        made["sock"].close()
        assert await made["protocol"].lost is None
        made["server"].close()
        await made["server"].wait_closed()

    run(begin())
    # The loop stands still: both directions become ready before it looks again.
    made["sock"].settimeout(0)
    size = 0
    while data := receive_nowait(made["sock"]):
        size += len(data)
    made["sock"].send(b"x")
    with pytest.raises(KeyboardInterrupt, match="now"):
        loop.run_forever()
    run(end())


def receive_nowait(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


class Interrupted(asyncio.Protocol):
    """Interrupted at the first data, as by Ctrl-C."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.calls = 0

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt("first data")


class InterruptedBuffered(asyncio.BufferedProtocol):
    """The same, and what arrives fills its buffer several times."""

    def __init__(self) -> None:
        self.buffer = bytearray(4)
        self.received: list[bytes] = []
        self.calls = 0

    def get_buffer(self, size_hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        self.received.append(bytes(self.buffer[:size]))
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt("first data")


@pytest.mark.parametrize("held", [False, True], ids=["flowing", "held back"])
@pytest.mark.parametrize("factory", [Interrupted, InterruptedBuffered])
def test_interrupt_in_a_receiving_callback_loses_no_byte_behind_it(loop, run, factory, held):
    message = bytes(range(100))
    near, far = socket.socketpair()

    async def interrupt():
        if held:
            far.send(message[:50])
            transport.pause_reading()
            for _ in range(10):
                await asyncio.sleep(0)
            far.send(message[50:])
            for _ in range(10):
                await asyncio.sleep(0)
            transport.resume_reading()
        else:
            far.send(message)
        await loop.create_future()

    async def receive_the_rest():
        far.send(b"more")
        while b"".join(protocol.received)[-4:] != b"more":
            await asyncio.sleep(0)
        assert b"".join(protocol.received) == message + b"more"
        transport.close()

    with far:
        transport, protocol = run(loop.create_unix_connection(factory, sock=near))
        interrupting = loop.create_task(interrupt())
        with pytest.raises(KeyboardInterrupt, match="first data"):
            loop.run_until_complete(interrupting)
        interrupting.cancel()
        run(receive_the_rest())


@pytest.mark.parametrize("kind", ["socket", "pipe"])
def test_eof_received_that_is_interrupted_ends_its_connection_in_the_next_run(loop, run, kind):
    near, far = socket.socketpair()

    async def connect():
        factory = lambda: Faulty("eof_received", KeyboardInterrupt("at the end"))  # noqa: E731
        if kind == "pipe":
            _, protocol = await loop.connect_read_pipe(factory, near)
        else:
            near.setblocking(False)
            _, protocol = await loop.create_connection(factory, sock=near)
        return protocol

    async def lost():
        return await protocol.lost

    protocol = run(connect())
    far.close()
    with pytest.raises(KeyboardInterrupt, match="at the end"):
        loop.run_forever()
    protocol.where = ""
    protocol.eof_received = lambda: False
    assert run(lost()) is None
