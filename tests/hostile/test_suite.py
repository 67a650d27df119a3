"""The suite itself: seeds repeat, they cover every step, and what a loop does wrong is noticed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import player
import pytest
from plan import KINDS, STEPS, Plan, plan_of
from player import Difference
from stage import Stage

# Enough for every fault to meet a sequence that shows it.
SEQUENCES = 300


def test_plan_of_a_seed_is_always_the_same():
    assert plan_of(17) == plan_of(17)
    assert plan_of(17) != plan_of(18)


def test_plans_take_every_step_on_every_kind_of_end():
    plans = [plan_of(seed) for seed in range(SEQUENCES)]
    assert {step.what for plan in plans for step in plan.steps} == set(STEPS)
    assert {(plan.family, plan.tls) for plan in plans} == {
        (family, tls) for family in ("tcp", "unix") for tls in ("", "ssl", "start_tls")
    }
    assert {kind for plan in plans for kind in plan.kinds} == set(KINDS)


class Faulty(asyncio.Protocol):
    """Stands between stock asyncio's transport and a protocol, and gets one thing wrong."""

    def __init__(self, protocol: Any, fault: str) -> None:
        self.protocol = protocol
        self.fault = fault
        self.leaked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.protocol, name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.protocol.connection_made(transport)
        if self.fault == "leaks a descriptor":
            self.leaked.append(os.dup(transport.get_extra_info("socket").fileno()))

    def data_received(self, data: bytes) -> None:
        if self.fault == "loses a byte":
            data = data[:-1] if len(data) > 1000 else data
        if self.fault == "doubles a byte":
            data = data + data[-1:] if len(data) > 1000 else data
        if self.fault == "delivers after a pause" and len(data) > 1:
            self.protocol.data_received(data[:1])
            data = data[1:]
        self.protocol.data_received(data)

    def eof_received(self) -> bool:
        if self.fault == "forgets the end of the stream":
            return True
        keep_open: bool = self.protocol.eof_received()
        if self.fault == "tells the end twice":
            self.protocol.eof_received()
        return keep_open and self.fault != "keeps nothing open"

    def pause_writing(self) -> None:
        if self.fault != "never pauses writing":
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        if self.fault not in ("never pauses writing", "never resumes writing"):
            self.protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.protocol.connection_lost(None if self.fault == "hides the error" else error)
        if self.fault == "ends twice":
            self.protocol.connection_lost(error)
        if self.fault == "complains":
            asyncio.get_running_loop().call_exception_handler({"message": "a complaint"})
        if self.fault == "leaves a task":
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(asyncio.Event().wait())


FAULTS = (
    "loses a byte",
    "doubles a byte",
    "delivers after a pause",
    "forgets the end of the stream",
    "tells the end twice",
    "keeps nothing open",
    "never pauses writing",
    "never resumes writing",
    "hides the error",
    "ends twice",
    "complains",
    "leaves a task",
    "leaks a descriptor",
)


class FaultyLoop(asyncio.SelectorEventLoop):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.ends: list[Faulty] = []

    def _make_socket_transport(self, sock: Any, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        self.ends.append(Faulty(protocol, self.fault))
        make: Callable[..., Any] = super()._make_socket_transport  # type: ignore[misc]
        return make(sock, self.ends[-1], *args, **kwargs)

    def close(self) -> None:
        super().close()
        for end in self.ends:
            for fd in end.leaked:
                os.close(fd)


def is_plain(plan: Plan) -> bool:
    return not plan.tls and plan.kinds == ("protocol", "protocol")


def first_difference(stage: Stage) -> str:
    for plan in filter(is_plain, map(plan_of, range(SEQUENCES))):
        try:
            stage.play(plan)
        except Difference as difference:
            return str(difference)
    return ""


@pytest.mark.parametrize("fault", FAULTS)
def test_suite_notices_a_loop_that(surroundings, monkeypatch, fault):
    monkeypatch.setattr(player, "WAIT_S_MAX", 0.5)
    stage = Stage(lambda: FaultyLoop(fault), surroundings)
    try:
        difference = first_difference(stage)
    finally:
        stage.close()
    assert "repeat with: HEADRACE_SEED=" in difference
