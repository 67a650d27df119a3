"""add_reader() and add_writer(): numbers that are not open, or not any more."""

from __future__ import annotations

import asyncio
import errno
import os
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
