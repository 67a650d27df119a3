"""A loop with spin_us asks without sleeping before it sleeps, and is a loop like any other."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

import headrace

SPIN_US = 2_000


@pytest.fixture
def spinning(model):
    loop = headrace.EventLoop(model, spin_us=SPIN_US)
    yield loop
    loop.close()


def test_data_that_come_while_it_spins_or_sleeps_are_seen(spinning):
    near, far = os.pipe()
    seen = []

    def take():
        seen.append(os.read(near, 1))
        if len(seen) == 2:
            spinning.stop()

    def write():
        os.write(far, b"1")
        time.sleep(5 * SPIN_US / 1e6)  # by then it sleeps
        os.write(far, b"2")

    spinning.add_reader(near, take)
    thread = threading.Thread(target=write)
    spinning.call_soon(thread.start)
    spinning.run_forever()
    thread.join()
    assert seen == [b"1", b"2"]
    spinning.remove_reader(near)
    os.close(near)
    os.close(far)


def test_another_thread_gets_the_interpreter_and_wakes_it(spinning):
    thread = threading.Thread(target=lambda: spinning.call_soon_threadsafe(spinning.stop))
    spinning.call_soon(thread.start)
    spinning.run_forever()
    thread.join()


def test_timer_that_is_due_within_the_spin_fires(spinning):
    async def main():
        await asyncio.sleep(SPIN_US / 4e6)
        await asyncio.sleep(SPIN_US * 2 / 1e6)
        return "slept"

    assert spinning.run_until_complete(main()) == "slept"


def test_spin_asks_more_often_than_a_wait():
    counts = []
    for spin_us in (0, 20_000):
        loop = headrace.new_event_loop("epoll", spin_us=spin_us)
        loop.run_until_complete(asyncio.sleep(0.02))
        counts.append(loop.statistics()["system_calls"]["epoll_wait"])
        loop.close()
    assert counts[1] > 10 * counts[0]


@pytest.mark.parametrize("spin_us", [-1, float("nan"), 1_000_001, "50"])
def test_spin_that_is_no_sensible_time_is_refused(spin_us):
    with pytest.raises(ValueError, match=r"spin_us must be from 0 to 1,000,000 microseconds"):
        headrace.new_event_loop("epoll", spin_us=spin_us)


def test_variable_asks_to_spin_where_the_program_does_not_say(monkeypatch):
    monkeypatch.setenv("HEADRACE_SPIN_US", "20000")

    async def main():
        await asyncio.sleep(0.02)
        return asyncio.get_running_loop().statistics()["system_calls"]["epoll_wait"]

    spun = headrace.run(main(), model="epoll")
    assert spun > 10 * headrace.run(main(), model="epoll", spin_us=0)
    monkeypatch.setenv("HEADRACE_SPIN_US", "long")
    with pytest.raises(ValueError, match=r"^\$HEADRACE_SPIN_US must be from 0 to .*: 'long'$"):
        headrace.run(main(), model="epoll")
