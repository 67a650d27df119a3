from collections.abc import Mapping

from headrace.core.descriptor_table import DescriptorTable
from headrace.core.ready_queue import ReadyQueue, Runnable
from headrace.core.statistics import Statistics
from headrace.models.contract import Model

REPORTS_READABLE: int
REPORTS_WRITABLE: int
REPORTS_HANGUP: int
REPORTS_ENDING: int

class Readiness:
    """Four verbs, add, modify, remove and wait, of which the reactor makes a Model."""

    name: str
    stevens: str
    waits: str
    copies: str
    system_calls: tuple[str, ...]
    signals_needed: tuple[int, ...]
    edge_triggered: bool
    certain: bool
    tells_end: bool
    capabilities: Mapping[str, bool | int | None]
    @property
    def statistics(self) -> Statistics: ...
    @classmethod
    def available(cls) -> str | None:
        """None where this kernel offers the model, else the reason it does not."""

    def attach(self, ready: ReadyQueue, table: DescriptorTable, statistics: Statistics) -> None: ...
    def report_ready(self, fd: int, events: int) -> None:
        """Called from wait(): *fd* is ready for *events* (REPORTS_READABLE ...)."""

    def open(self) -> None: ...
    def bind(self) -> None:
        """This thread is going to run the loop; called at each start."""

    def unbind(self) -> None:
        """This thread runs the loop no more, or is about to start a child process."""

    def add(self, fd: int, events: int) -> None:
        """Watch *fd*, which is not watched, for *events*."""

    def modify(self, fd: int, events: int) -> None:
        """Watch *fd*, which is watched, for *events* instead."""

    def remove(self, fd: int) -> None:
        """Stop watching *fd*; it may be closed already."""

    def expect_writable(self, fd: int) -> None:
        """Of an edge-triggered model: somebody waits for room who has not tried to write."""

    def wait(self, timeout_s: float) -> None:
        """Report what is ready; wait for that *timeout_s* seconds, for ever if negative."""

    def close(self) -> None: ...

class Registration(Runnable):
    """What waits on one descriptor."""

class Reactor(Model):
    """A Model made of a readiness model."""

    def __init__(self, readiness: Readiness) -> None: ...
    @property
    def readiness(self) -> Readiness: ...
