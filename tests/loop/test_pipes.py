"""Pipe transports: what is refused, what a transport says of itself, what a program may do."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import io
import logging
import os
import pty
import socket

import pytest


class Quiet(asyncio.Protocol):
    """Says when it is lost, and keeps what came."""

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def connection_lost(self, error):
        self.lost.set_result(error)


@pytest.fixture
def ends():
    """The two ends of a pipe, as unbuffered files."""
    reader, writer = os.pipe()
    with open(reader, "rb", 0) as read_end, open(writer, "wb", 0) as write_end:
        yield read_end, write_end


async def reads(end, protocol=Quiet):
    return await asyncio.get_running_loop().connect_read_pipe(protocol, end)


async def writes(end, protocol=Quiet):
    return await asyncio.get_running_loop().connect_write_pipe(protocol, end)


async def end(*transports):
    lost = [transport.get_protocol().lost for transport in transports]
    for transport in transports:
        transport.close()
    await asyncio.gather(*lost)


def forget(held):
    held.clear()
    gc.collect()


# What is refused.


@pytest.mark.parametrize(
    ("connect", "message"),
    [
        (reads, "Pipe transport is for pipes/sockets only."),
        (writes, "Pipe transport is only for pipes, sockets and character devices"),
    ],
)
def test_regular_file_is_refused_and_stays_its_owners(run, tmp_path, connect, message):
    async def main():
        with open(tmp_path / "file", "w+b", 0) as file:
            with pytest.raises(ValueError, match=f"^{message}$"):
                await connect(file)
            file.write(b"still open")

    run(main())


@pytest.mark.parametrize("connect", [reads, writes])
def test_what_is_no_pipe_is_refused(headrace_run, connect):
    async def main():
        with pytest.raises(AttributeError):
            await connect(None)
        reader, writer = os.pipe()
        os.close(writer)
        with open(reader, "rb", 0, closefd=False) as closed:
            os.close(reader)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await connect(closed)

    headrace_run(main())


@pytest.mark.parametrize("connect", [reads, writes])
def test_cancelled_connect_closes_the_pipe(run, ends, connect):
    async def main():
        mine = ends[0] if connect is reads else ends[1]
        connecting = asyncio.create_task(connect(mine))
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        for _ in range(20):
            if mine.closed:
                break
            await asyncio.sleep(0)
        assert mine.closed

    run(main())


def test_device_that_is_always_ready_can_be_written_to(run):
    async def main():
        transport, _ = await writes(open("/dev/null", "wb", 0))  # noqa: SIM115
        transport.write(b"x" * 1_000_000)
        await asyncio.sleep(0)
        await end(transport)

    run(main())


def test_named_pipe_transports_data(run, tmp_path):
    async def main():
        path = tmp_path / "fifo"
        os.mkfifo(path)
        # A named pipe is opened for reading first: with O_NONBLOCK that needs no writer.
        reader = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)  # noqa: SIM115
        writer = open(path, "wb", 0)  # noqa: SIM115
        write_transport, write_protocol = await writes(writer)
        read_transport, protocol = await reads(reader)
        write_transport.write(b"through a name")
        write_transport.close()
        assert await protocol.lost is None
        assert protocol.data == b"through a name"
        assert read_transport.is_closing()
        await write_protocol.lost

    run(main())


# What a transport says of itself.


def test_transports_are_what_asyncio_calls_them(run, ends):
    async def main():
        reader, writer = (await reads(ends[0]))[0], (await writes(ends[1]))[0]
        assert isinstance(reader, asyncio.ReadTransport)
        assert not isinstance(reader, asyncio.WriteTransport)
        assert isinstance(writer, asyncio.WriteTransport)
        for name in ("pause_reading", "resume_reading", "is_reading"):
            assert hasattr(reader, name)
            with pytest.raises(NotImplementedError):
                getattr(writer, name)()
        for name in ("write", "writelines", "write_eof", "set_write_buffer_limits"):
            assert hasattr(writer, name)
            assert not hasattr(reader, name)
        assert writer.can_write_eof()
        await end(reader, writer)

    run(main())


def test_extra_info_knows_the_pipe_also_afterwards(run, ends):
    async def main():
        for connect, mine in zip((reads, writes), ends, strict=True):
            transport, protocol = await connect(mine)
            assert transport.get_protocol() is protocol
            assert not os.get_blocking(mine.fileno())
            for _ in range(2):
                assert transport.get_extra_info("pipe") is mine
                assert transport.get_extra_info("socket") is None
                assert transport.get_extra_info("sockname", "nothing") == "nothing"
                if not transport.is_closing():
                    transport.close()
                    await protocol.lost

    run(main())


def test_repr_shows_the_inner_life(headrace_run, ends):
    async def main():
        reader, writer = (await reads(ends[0]))[0], (await writes(ends[1]))[0]
        read_fd, write_fd = (end.fileno() for end in ends)
        assert repr(reader) == f"<ReadPipeTransport fd={read_fd} polling>"
        assert repr(writer) == f"<WritePipeTransport fd={write_fd} idle bufsize=0>"
        reader.pause_reading()
        await asyncio.sleep(0.001)
        assert repr(reader) == f"<ReadPipeTransport fd={read_fd} idle>"
        writer.write(b"x" * 1_000_000)
        buffered = writer.get_write_buffer_size()
        assert repr(writer) == f"<WritePipeTransport fd={write_fd} polling bufsize={buffered}>"
        writer.close()
        assert repr(writer).startswith(f"<WritePipeTransport closing fd={write_fd} ")
        writer.abort()
        lost = [reader.get_protocol().lost, writer.get_protocol().lost]
        reader.close()
        for future in lost:
            await future
        await asyncio.sleep(0)
        assert repr(reader) == "<ReadPipeTransport closed fd=-1>"
        assert repr(writer) == "<WritePipeTransport closed fd=-1>"

    headrace_run(main())


@pytest.mark.parametrize("connect", [reads, writes])
def test_tls_and_sendfile_are_refused(run, loop, ends, client_tls, connect):
    async def main():
        transport, protocol = await connect(ends[0] if connect is reads else ends[1])
        with pytest.raises(TypeError, match="not supported by start_tls"):
            await loop.start_tls(transport, protocol, client_tls)
        with open(__file__, "rb") as file, pytest.raises(RuntimeError, match="not supported"):
            await loop.sendfile(transport, file)
        await end(transport)

    run(main())


@pytest.mark.parametrize("connect", [reads, writes])
def test_program_may_put_attributes_on_a_transport(run, ends, connect):
    async def main():
        transport, _ = await connect(ends[0] if connect is reads else ends[1])
        transport.note = "mine"
        assert transport.note == "mine"
        await end(transport)

    run(main())


# Writing.


def test_write_takes_bytes_like_objects_and_keeps_its_own_copy(run, ends):
    async def main():
        (_, protocol), (writer, _) = await reads(ends[0]), await writes(ends[1])
        changing = bytearray(b"one ")
        writer.write(changing)
        changing[:] = b"xxxx"
        writer.write(memoryview(b"two "))
        writer.write(b"")
        writer.writelines([b"three", b"!"])
        writer.write_eof()
        await protocol.lost
        assert protocol.data == b"one two three!"

    run(main())


def test_write_refuses_what_is_no_bytes(headrace_run, ends):
    async def main():
        writer, _ = await writes(ends[1])
        with pytest.raises(TypeError, match="must be a bytes-like object, not 'str'"):
            writer.write("text")
        await end(writer)

    headrace_run(main())


def test_late_writes_are_dropped_and_the_sixth_is_logged(run, ends, caplog):
    async def main():
        writer, protocol = await writes(ends[1])
        writer.write_eof()
        writer.write_eof()
        for _ in range(10):
            writer.write(b"too late")
        await protocol.lost

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert ends[0].read() == b""
    assert "pipe closed by peer or os.write(pipe, data) raised exception." in caplog.messages


@pytest.mark.parametrize(
    ("high", "low", "limits"),
    [(None, None, (16384, 65536)), (1000, None, (250, 1000)), (None, 1000, (1000, 4000))],
)
def test_write_buffer_limits_are_asyncios(run, ends, high, low, limits):
    async def main():
        writer, _ = await writes(ends[1])
        writer.set_write_buffer_limits(high, low)
        assert writer.get_write_buffer_limits() == limits
        with pytest.raises(ValueError, match="must be >= low"):
            writer.set_write_buffer_limits(high=1, low=2)
        await end(writer)

    run(main())


def test_write_buffer_is_never_more_than_what_was_written(run, ends):
    """Also between the report that there is room and the write."""

    async def main():
        writer, _ = await writes(ends[1])
        await asyncio.sleep(0)
        room = fcntl.fcntl(ends[1], fcntl.F_GETPIPE_SZ)
        writer.write(bytes(room + 100))
        await asyncio.sleep(0)
        assert writer.get_write_buffer_size() == 100
        os.read(ends[0].fileno(), room)
        sizes = []
        while not sizes or sizes[-1]:
            await asyncio.sleep(0)
            sizes.append(writer.get_write_buffer_size())
        assert set(sizes) <= {0, 100}
        await end(writer)

    run(main())


# Errors.


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
def test_protocol_that_fails_keeps_its_pipe(run, ends, complaints, name):
    """Unlike on a socket: asyncio reports, and goes on."""

    class Failing(Quiet):
        fails = True

        def data_received(self, data):
            super().data_received(data)
            self.fail("data_received")

        def eof_received(self):
            self.fail("eof_received")

        def fail(self, callback):
            if callback == name and Failing.fails:
                Failing.fails = False
                raise LookupError(name)

    async def main():
        (_, protocol), (writer, _) = await reads(ends[0], Failing), await writes(ends[1])
        writer.write(b"one")
        while protocol.data != b"one":
            await asyncio.sleep(0)
        writer.write(b"two")
        writer.close()
        assert await protocol.lost is None
        assert protocol.data == b"onetwo"

    run(main())
    assert [str(entry["exception"]) for entry in complaints] == [name]
    complaints.clear()


def test_read_error_is_reported_and_ends_the_transport(run, complaints):
    """The write end of a pipe cannot be read from, and is always "readable" without a reader."""

    async def main():
        reader, writer = os.pipe()
        os.close(reader)
        _, protocol = await reads(open(writer, "wb", 0))  # noqa: SIM115
        error = await protocol.lost
        assert isinstance(error, OSError)

    run(main())
    assert [entry["message"] for entry in complaints] == ["Fatal read error on pipe transport"]
    complaints.clear()


def test_pipe_that_cannot_be_closed_is_reported(headrace_run, complaints):
    class Stuck(io.FileIO):
        def close(self):
            super().close()
            raise OSError("cannot be closed")

    async def main():
        reader, writer = os.pipe()
        os.close(writer)
        _, protocol = await reads(Stuck(reader, "rb"))
        await protocol.lost
        await asyncio.sleep(0)

    headrace_run(main())
    assert [str(entry["exception"]) for entry in complaints] == ["cannot be closed"]
    complaints.clear()


def test_transport_that_is_forgotten_warns_and_closes_its_pipe(make_loop, ends):
    loop = make_loop()
    try:
        held = [loop.run_until_complete(reads(ends[0])), loop.run_until_complete(writes(ends[1]))]
    finally:
        loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport") as warned:
        forget(held)
    assert len([one for one in warned if "unclosed transport" in str(one.message)]) == 2
    assert all(end.closed for end in ends)


def test_pipe_of_a_closed_loop_can_be_taken_back(make_loop, ends):
    """CPython's own tests do it; the transport must not close what is not its any more."""
    loop = make_loop()
    try:
        reader, _ = loop.run_until_complete(reads(ends[0]))
        writer, _ = loop.run_until_complete(writes(ends[1]))
    finally:
        loop.close()
    for transport, mine in zip((reader, writer), ends, strict=True):
        assert "open" in repr(transport)
        assert transport._pipe is mine
        transport._pipe = None
    del reader, writer, transport
    gc.collect()
    assert not any(end.closed for end in ends)


# Terminals.


def test_terminal_gives_lines_and_hangs_up(run):
    async def main():
        master, terminal = pty.openpty()
        read_end = open(master, "rb", 0)  # noqa: SIM115
        _, protocol = await reads(read_end)
        os.write(terminal, b"one\ntwo\n")
        while protocol.data != b"one\r\ntwo\r\n":
            await asyncio.sleep(0.001)
        os.close(terminal)
        error = await protocol.lost
        assert isinstance(error, OSError)
        assert "Input/output error" in str(error)

    run(main())


def test_terminal_as_write_end_is_not_watched_for_its_reader(run):
    """What can be read there is what somebody types, not a sign that the reader has gone."""

    async def main():
        master, terminal = pty.openpty()
        try:
            writer, protocol = await writes(open(terminal, "wb", 0))  # noqa: SIM115
            os.write(master, b"typed\n")
            for _ in range(10):
                await asyncio.sleep(0)
            assert not protocol.lost.done()
            writer.write(b"shown")
            writer.close()
            await protocol.lost
            shown = b""
            with contextlib.suppress(OSError):
                while data := os.read(master, 100):
                    shown += data
            assert b"shown" in shown
        finally:
            os.close(master)

    run(main())


# Others meanwhile.


def test_broken_pipe_disturbs_nobody(run, bystander, ends):
    async def main():
        async with bystander():
            writer, protocol = await writes(ends[1])
            writer.write(b"x" * 1_000_000)
            await asyncio.sleep(0)
            ends[0].close()
            assert isinstance(await protocol.lost, BrokenPipeError)

    run(main())


def test_socket_given_as_pipe_is_closed_with_it(run):
    async def main():
        left, right = socket.socketpair()
        (reader, protocol), (writer, _) = await reads(left), await writes(right)
        writer.write(b"hello")
        writer.close()
        assert await protocol.lost is None
        assert protocol.data == b"hello"
        await asyncio.sleep(0)
        assert left.fileno() == right.fileno() == -1
        assert reader.get_extra_info("pipe") is left

    run(main())
