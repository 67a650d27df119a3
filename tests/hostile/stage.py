"""A loop that sequences are played on, one after the other, and what none may leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

from plan import Plan
from player import Difference, Player, Surroundings

# A sequence takes milliseconds; one that hangs must end before pytest's timeout does it.
SEQUENCE_S_MAX = 60.0
# A completion model tells a cancellation late.
TURNS_TO_SETTLE = 100
# A request in a worker thread of the kernel's takes some time.
PAUSES_TO_SETTLE = 1000


class Stage:
    def __init__(self, make_loop: Callable[[], Any], surroundings: Surroundings) -> None:
        self.loop = make_loop()
        self.surroundings = surroundings
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        # The first run makes what a loop makes only then.
        self.loop.run_until_complete(asyncio.sleep(0))
        self.descriptors: set[str] = set()

    def play(self, plan: Plan) -> list[str]:
        """What both ends have seen.  Difference: what was wrong, after what, in which plan."""
        seen: list[str] = []
        self.descriptors = open_descriptors()

        async def play() -> None:
            player = Player(plan, self.surroundings)
            player.seen = seen
            await asyncio.wait_for(player.play(), SEQUENCE_S_MAX)

        try:
            self.loop.run_until_complete(play())
            self.check_nothing_is_left()
        except Exception as error:
            raise Difference(describe(plan, seen, f"{type(error).__name__}: {error}")) from error
        return seen

    def check_nothing_is_left(self) -> None:
        for count in range(TURNS_TO_SETTLE + PAUSES_TO_SETTLE):
            pause_s = 0 if count < TURNS_TO_SETTLE else 0.001
            self.loop.run_until_complete(asyncio.sleep(pause_s))
            late = self.operations() + self.lent()  # a thread may tell of a cancelled one later
            if not (late if count >= TURNS_TO_SETTLE else self.left_behind()):
                break
        left = self.left_behind()
        if left:
            raise Difference(f"left behind: {left}")
        complaints = [context for context in self.complaints if not is_asyncios_own(context)]
        self.complaints.clear()
        if complaints:
            raise Difference(f"the exception handler was told: {complaints}")

    def operations(self) -> list[Any]:
        found: list[Any] = getattr(self.loop, "_operations_in_flight", list)()
        return found

    def left_behind(self) -> list[Any]:
        left: list[Any] = list(asyncio.all_tasks(self.loop))
        left += sorted(open_descriptors() ^ self.descriptors)
        if hasattr(self.loop, "_operations_in_flight"):
            left += self.operations()
            left += ["a callback"] * self.loop._callbacks_pending()
            left += self.lent()
        return left

    def lent(self) -> list[Any]:
        """The loop's pool of buffers, while not all of them are back."""
        pool = self.loop._model.pool if hasattr(self.loop, "_model") else None
        return [] if pool is None or pool.idle_count == pool.count else [pool]

    def close(self) -> None:
        self.loop.close()


def describe(plan: Plan, seen: list[str], error: str) -> str:
    lines = "".join(f"\n    {line}" for line in seen)
    again = f"HEADRACE_SEED={plan.seed} pytest tests/hostile"
    return f"{error}\n{plan}\nseen:{lines}\nrepeat with: {again}"


def is_asyncios_own(context: dict[str, Any]) -> bool:
    """sslproto passes on flow control to the protocol of a connection that it has ended."""
    return isinstance(context.get("protocol"), asyncio.sslproto.SSLProtocol) and context[
        "message"
    ] in ("protocol.pause_writing() failed", "protocol.resume_writing() failed")


def open_descriptors() -> set[str]:
    """The open descriptors, each with what it refers to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one of this listing
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
    return found
