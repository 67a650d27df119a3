"""Random programs of callbacks run on stock asyncio and here: the traces are the same.

The clock is the program's own, advanced by its steps, so that nothing depends on real time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace

DELAYS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("soon")),
        st.tuples(st.just("nested")),
        st.tuples(st.just("later"), DELAYS),
        st.tuples(st.just("at"), DELAYS),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("advance"), DELAYS),
        st.tuples(st.just("turn")),
        st.tuples(st.just("stop")),
        st.tuples(st.just("raise")),
        st.tuples(st.just("task")),
    ),
    max_size=40,
)


class Program:
    """Performs the steps on a loop, several in a turn, and notes what ran and when."""

    def __init__(self, loop: asyncio.AbstractEventLoop, steps: list[Any]) -> None:
        self.loop = loop
        self.steps = list(steps)
        self.now = 1000.0
        self.handles: list[asyncio.Handle] = []
        self.trace: list[Any] = []
        self.tasks: list[asyncio.Task[None]] = []
        loop.time = lambda: self.now  # type: ignore[method-assign]
        loop.set_exception_handler(
            lambda _, context: self.note("handler", repr(context["exception"]))
        )

    def note(self, *what: Any) -> None:
        self.trace.append((*what, self.now))

    def run(self) -> list[Any]:
        self.loop.call_soon(self.drive)
        while self.steps is not None:
            self.loop.run_forever()
            self.note("stopped")
        return self.trace

    def drive(self) -> None:
        while self.steps:
            step, *arguments = self.steps.pop(0)
            getattr(self, f"do_{step}")(*arguments)
            if step == "turn":
                self.loop.call_soon(self.drive)
                return
            if step == "stop":
                self.loop.call_soon(self.drive)
                return
        self.now += 1000
        self.steps = None  # type: ignore[assignment]
        # Two turns: the timers that are due now, and what they schedule.
        self.loop.call_soon(lambda: self.loop.call_soon(self.loop.stop))

    def name(self) -> int:
        return len(self.handles)

    def do_soon(self) -> None:
        self.handles.append(self.loop.call_soon(self.note, "soon", self.name()))

    def do_nested(self) -> None:
        name = self.name()

        def outer() -> None:
            self.note("outer", name)
            self.loop.call_soon(self.note, "inner", name)

        self.handles.append(self.loop.call_soon(outer))

    def when(self, delay: int) -> float:
        # asyncio's heap is not stable: no two deadlines are equal here.
        return delay + self.name() * 1e-4

    def do_later(self, delay: int) -> None:
        self.handles.append(self.loop.call_later(self.when(delay), self.note, "later", self.name()))

    def do_at(self, delay: int) -> None:
        deadline = self.now + self.when(delay)
        self.handles.append(self.loop.call_at(deadline, self.note, "at", self.name()))

    def do_cancel(self, index: int) -> None:
        if self.handles:
            self.handles[index % len(self.handles)].cancel()

    def do_advance(self, delay: int) -> None:
        self.now += delay

    def do_turn(self) -> None:
        self.note("turn")

    def do_stop(self) -> None:
        self.loop.stop()

    def do_raise(self) -> None:
        def fail() -> None:
            raise ValueError("meant")

        self.handles.append(self.loop.call_soon(fail))

    def do_task(self) -> None:
        name = self.name()

        async def work() -> None:
            for turn in range(3):
                self.note("task", name, turn)
                await asyncio.sleep(0)

        self.tasks.append(self.loop.create_task(work()))


def trace_on(loop: asyncio.AbstractEventLoop, steps: list[Any]) -> list[Any]:
    try:
        program = Program(loop, steps)
        trace = program.run()
        loop.run_until_complete(all_done(program.tasks))
        return trace
    finally:
        loop.close()


async def all_done(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


# The fixture is a name that does not change from example to example.
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_callbacks_run_in_asyncios_order(model, steps):
    expected = trace_on(asyncio.new_event_loop(), steps)
    assert trace_on(headrace.new_event_loop(model), steps) == expected


def test_callbacks_run_in_the_order_of_scheduling_across_turns(loop):
    ran = []

    def again(depth):
        ran.append(depth)
        if depth < 3:
            loop.call_soon(again, depth + 1)
            loop.call_soon(ran.append, -depth)
        else:
            loop.stop()

    loop.call_soon(again, 1)
    loop.call_soon(ran.append, 100)
    loop.run_forever()
    assert ran == [1, 100, 2, -1, 3, -2]


def test_callback_that_stops_the_loop_lets_its_turn_finish_and_no_more(loop):
    ran = []
    loop.call_soon(loop.stop)
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop.call_soon, ran.append, 2)
    loop.run_forever()
    assert ran == [1]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == [1, 2]


def test_stop_before_run_runs_one_turn(loop):
    ran = []
    loop.stop()
    loop.call_soon(ran.append, 1)
    loop.run_forever()
    assert ran == [1]


@pytest.mark.parametrize("count", [1, 100, 10_000])
def test_timers_with_equal_deadlines_run_in_the_order_they_were_set(headrace_loop, count):
    ran = []
    deadline = headrace_loop.time() - 1
    for number in range(count):
        headrace_loop.call_at(deadline, ran.append, number)
    headrace_loop.call_at(deadline, headrace_loop.stop)
    headrace_loop.run_forever()
    assert ran == list(range(count))
