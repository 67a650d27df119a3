"""add_reader() and add_writer(): numbers that are not open, or not any more."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket

import pytest

# What a table of all numbers up to FAR_NUMBER would take, many times over.
GROWTH_BYTES_MAX = 32 * 1024 * 1024
FAR_NUMBER = 40_000_000


def test_callback_that_lets_go_of_its_own_handle_runs_to_its_end(model, run_program):
    answer = run_program("own_handle.py", model)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "alive\n"


def number_not_open() -> int:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd


def memory_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_watcher_of_a_number_that_is_not_open_is_refused(run, loop, method, far):
    async def main():
        number = FAR_NUMBER if far else number_not_open()
        before = memory_bytes()
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as raised:
            getattr(loop, method)(number, print)
        assert raised.value.errno == errno.EBADF
        assert memory_bytes() - before < GROWTH_BYTES_MAX
        assert not loop.remove_reader(number)
        assert not loop.remove_writer(number)

    run(main())


def test_watcher_whose_descriptor_was_closed_behind_its_back_disturbs_nobody(
    run, loop, bystander, complaints
):
    """A program's mistake; select(2) alone fails for it, and would fail for everybody."""

    async def main():
        async with bystander():
            gone, far = socket.socketpair()
            number = gone.fileno()
            # Its callback may be called: it would learn from its own read(2) what has happened.
            loop.add_reader(gone, lambda: None)
            await asyncio.sleep(0)
            gone.close()
            for _ in range(10):
                await asyncio.sleep(0)
        loop.remove_reader(number)
        far.close()

    run(main())
    # A model that notices may say so.
    assert all(isinstance(entry["exception"], OSError) for entry in complaints)
    complaints.clear()


# What these models cannot notice: epoll's kernel forgets a closed descriptor, and so does its
# edge-triggered kind unless something is left to be done; a ring holds the file itself, and so does
# a thread that blocks; a closed file sends no signals.
NEVER_NOTICE = {"epoll"}
NOTICE_WHEN_READY = {"aio", "blocking", "epoll-edge", "signal", "uring"}
# A thread that has not come to its poll(2) yet notices.
MAY_NOTICE = {"aio", "blocking"}
METHODS = ["reader", "writer"]


def watched_pair(ready: bool) -> tuple[socket.socket, socket.socket]:
    """Two ends of which the first is ready for both sides, or for none."""
    near, far = socket.socketpair()
    near.setblocking(False)
    if ready:
        far.send(b"for the reader")
    else:
        with contextlib.suppress(BlockingIOError):
            while True:
                near.send(bytes(65536))
    return near, far


async def turns_until(condition, count=100, pauses=20):
    """A hundred turns, and then some time, which a model needs whose threads must notice."""
    for turn in range(count + pauses):
        if condition():
            return True
        await asyncio.sleep(0 if turn < count else 0.001)
    return False


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ready", [True, False], ids=["ready", "quiet"])
@pytest.mark.parametrize("by_number", [True, False], ids=["number", "object"])
def test_watch_of_a_descriptor_that_is_closed_ends_and_is_told_once(
    headrace_run, headrace_loop, complaints, method, ready, by_number
):
    loop = headrace_loop
    called = []

    async def main():
        near, far = watched_pair(ready)
        with far:
            number = near.fileno()
            getattr(loop, f"add_{method}")(number if by_number else near, called.append, None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            near.close()
            noticed = await turns_until(lambda: complaints)
            calls = len(called)
            # Nothing is left that would come up again.
            assert not await turns_until(lambda: len(called) > calls)
            silent = NEVER_NOTICE if ready else NEVER_NOTICE | NOTICE_WHEN_READY
            if ready or loop.model not in MAY_NOTICE:
                assert noticed == (loop.model not in silent)
            assert len(complaints) == noticed
            if noticed:
                assert not loop._operations_in_flight()
            assert getattr(loop, f"remove_{method}")(number)

    headrace_run(main())
    for complaint in complaints:
        assert complaint["exception"].errno == errno.EBADF
        assert re.fullmatch(
            r"descriptor \d+ was closed while it was being watched; "
            rf"call remove_{method}\(\) before closing it",
            complaint["message"],
        )
    complaints.clear()


@pytest.mark.parametrize("method", METHODS)
def test_watch_of_a_number_that_has_become_another_files_is_the_new_files(
    headrace_run, headrace_loop, bystander, complaints, method
):
    loop = headrace_loop

    async def main():
        called = asyncio.Event()
        old, old_far = watched_pair(ready=False)
        add = getattr(loop, f"add_{method}")
        async with bystander():
            with old_far:
                number = old.fileno()
                add(old, pytest.fail, "the old file's callback")
                await asyncio.sleep(0)
                old.close()
                new, new_far = watched_pair(ready=True)
                with new, new_far:
                    if new.fileno() != number:
                        pytest.fail("the number was not given out again")
                    add(new, called.set)
                    await called.wait()
                    assert getattr(loop, f"remove_{method}")(new)

    headrace_run(main())
    assert complaints == []


def test_number_that_is_open_again_before_the_loop_looks_is_watched_on(
    headrace_run, headrace_loop, complaints
):
    """Reported as closed in one wait, and another file's by the time its turn comes."""
    loop = headrace_loop
    if loop.model not in ("select", "poll"):
        pytest.skip("its wait does not report closed descriptors")

    async def main():
        old, old_far = watched_pair(ready=False)
        number = old.fileno()
        called = asyncio.Event()
        with old_far:
            loop.add_reader(number, called.set)
            await asyncio.sleep(0)
            old.close()
            # The next turn runs this before what its wait has reported.
            await asyncio.sleep(0)
            new, new_far = watched_pair(ready=False)
            with new, new_far:
                assert new.fileno() == number
                await turns_until(called.is_set, 5)
                new_far.send(b"for the reader")
                await called.wait()
                loop.remove_reader(number)

    headrace_run(main())
    assert complaints == []


@pytest.mark.parametrize("method", METHODS)
def test_file_that_is_watched_no_more_is_closed_by_its_owners_close(run, loop, method):
    async def watched(near):
        getattr(loop, f"add_{method}")(near, pytest.fail)
        await asyncio.sleep(0)

    near, far = watched_pair(ready=False)
    with far:
        run(watched(near))
        getattr(loop, f"remove_{method}")(near)
        near.close()
        far.setblocking(False)
        while data := far.recv(1 << 20):
            assert data


@pytest.mark.parametrize("method", METHODS)
def test_watch_of_a_closed_object_can_be_removed_by_it(run, loop, complaints, method):
    async def main():
        near, far = watched_pair(ready=False)
        with far:
            getattr(loop, f"add_{method}")(near, pytest.fail)
            near.close()
            assert getattr(loop, f"remove_{method}")(near)
            with pytest.raises(ValueError, match="Invalid file"):
                getattr(loop, f"remove_{method}")(near)
            await asyncio.sleep(0)

    run(main())
    assert complaints == []


@pytest.mark.parametrize("by_number", [False, True])
def test_connection_under_a_number_that_is_still_watched_is_served(
    headrace_run, headrace_loop, by_number
):
    loop = headrace_loop

    async def main():
        near, far = watched_pair(ready=False)
        number = near.fileno()
        with far:
            loop.add_reader(number if by_number else near, lambda: None)
            await asyncio.sleep(0.01)
            near.close()
            new, new_far = socket.socketpair()
            with new_far:
                assert new.fileno() == number
                reader, writer = await asyncio.open_unix_connection(sock=new)
                new_far.send(b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                await writer.wait_closed()

    headrace_run(main())


@pytest.mark.parametrize("method", METHODS)
def test_callback_of_a_ready_descriptor_runs_once_in_each_turn(run, loop, method):
    async def main():
        near, far = watched_pair(ready=True)
        counts = []
        with near, far:
            getattr(loop, f"add_{method}")(near, lambda: counts.append(turns))
            turns = 0
            while len(counts) < 4:
                turns += 1
                await asyncio.sleep(0)
            getattr(loop, f"remove_{method}")(near)
        assert len(counts) == len(set(counts)), counts

    run(main())


@pytest.mark.prompt
@pytest.mark.parametrize("method", METHODS)
def test_callback_of_a_ready_descriptor_runs_in_each_turn(run, loop, method):
    async def main():
        near, far = watched_pair(ready=True)
        calls = []
        with near, far:
            getattr(loop, f"add_{method}")(near, calls.append, None)
            for _ in range(6):
                await asyncio.sleep(0)
            getattr(loop, f"remove_{method}")(near)
        assert len(calls) >= 4

    run(main())


def test_callback_runs_for_what_is_ready_only_while_a_connection_is_aborted(run, loop):
    """Also where the kernel does not let go of the connection at once: a send that has no room."""

    class Aborted(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.lost = loop.create_future()

        def eof_received(self):
            self.transport.abort()
            os.write(writer, b"ready")
            return True

        def connection_lost(self, error):
            self.lost.set_result(error)

    def read():
        with contextlib.suppress(BlockingIOError):
            found.append(b"")
            found[-1] = os.read(reader, 100)

    async def some_turns():
        for _ in range(20):
            await asyncio.sleep(0)

    async def main():
        loop.add_reader(reader, read)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            near = socket.create_connection(listening.getsockname())
            far, _ = listening.accept()
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        transport, protocol = await loop.create_connection(Aborted, sock=near)
        transport.write(bytes(1 << 24))
        await some_turns()
        far.shutdown(socket.SHUT_WR)
        await protocol.lost
        while not found:
            await asyncio.sleep(0)
        await some_turns()
        assert found == [b"ready"]
        loop.remove_reader(reader)
        far.close()

    found = []
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    run(main())
    os.close(reader)
    os.close(writer)
