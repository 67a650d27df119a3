"""A model that notes when it is asked, when it waits, and when that ends.

It is a subclass that is made of the model's own class at run time: every verb is the model's, with
a stamp before or after, and there is one set of books.  A wrapper around another instance would
have had to keep the in-flight list and the buffers of both.  The loop calls a verb through the
same slot either way, so a model that nobody traces has nothing to pay.

All stamps are of CLOCK_MONOTONIC, in nanoseconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from headrace.core.operation import Operation
from headrace.models.contract import Model
from headrace.models.reactor import Reactor

ENTRIES_MAX = 100_000
"""Of each kind; what comes later is not noted."""


@dataclass
class Stamps:
    """What was noted, each list in order."""

    asked: list[tuple[int, str, int]] = field(default_factory=list)
    """(when, kind of operation, descriptor) of each submit()."""
    waited: list[list[int]] = field(default_factory=list)
    """[start, end, rounds] of wait(): one entry until something else is noted."""
    told: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, end, bytes) of each data_received()."""
    is_waiting: bool = False

    def ask(self, operation: Operation) -> None:
        self.is_waiting = False
        if len(self.asked) < ENTRIES_MAX:
            self.asked.append((time.monotonic_ns(), operation.kind_name, operation.fd))

    def tell(self, start_ns: int, length: int) -> None:
        self.is_waiting = False
        if len(self.told) < ENTRIES_MAX:
            self.told.append((start_ns, time.monotonic_ns(), length))

    def wait(self, start_ns: int) -> None:
        """A polling model waits in thousands of rounds: they are one entry, with their number."""
        end_ns = time.monotonic_ns()
        if self.is_waiting:
            last = self.waited[-1]
            last[1] = end_ns
            last[2] += 1
        elif len(self.waited) < ENTRIES_MAX:
            self.is_waiting = True
            self.waited.append([start_ns, end_ns, 1])


class StampedVerbs(Model):
    """Stands before a model's class in the order of resolution."""

    stamps: Stamps

    def submit(self, operation: Operation) -> int:
        self.stamps.ask(operation)
        return super().submit(operation)

    def wait(self, timeout_s: float) -> None:
        start_ns = time.monotonic_ns()
        super().wait(timeout_s)
        self.stamps.wait(start_ns)


def stamped(model: Model, stamps: Stamps) -> Model:
    """A model like *model*, which must not have been opened, that keeps *stamps*.

    What the model was made with is not known, so that it is made with its defaults.
    """
    own = type(model)
    kind = type(f"Stamped{own.__name__}", (StampedVerbs, own), {"stamps": stamps})
    made: Model = kind(model.readiness) if isinstance(model, Reactor) else kind()
    return made
