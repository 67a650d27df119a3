from collections.abc import Mapping

from headrace.core.buffer_pool import BufferPool
from headrace.core.operation import InFlight, Operation
from headrace.core.ready_queue import ReadyQueue, Runnable
from headrace.core.statistics import Statistics

SUBMIT_PENDING: int
SUBMIT_COMPLETED: int
CANCEL_PENDING: int
CANCEL_CANCELLED: int

class ComposedStep(Runnable):
    """A composed operation that waits for its turn."""

class Model:
    """What the loop sees of an I/O model; subclass it to write one (docs/writing-a-model.md)."""

    name: str
    stevens: str
    waits: str
    copies: str
    system_calls: tuple[str, ...]
    """Those of its steady state, without what opens and closes it; the statistics count all."""
    signals_needed: tuple[int, ...]
    """Those besides real-time ones for which add_signal_handler() refuses a handler."""
    capabilities: Mapping[str, bool | int | None]
    has_own_clock: bool
    looks_for_free: bool
    is_open: bool
    @property
    def ready(self) -> ReadyQueue: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def pool(self) -> BufferPool: ...
    @property
    def in_flight(self) -> InFlight:
        """The operations that have been submitted and have not ended."""

    @property
    def put_off(self) -> ReadyQueue:
        """What is ready to be received once those have run who were given data before it."""

    def connect(self, ready: ReadyQueue, statistics: Statistics) -> None:
        """Tell the model where completions go and where counts are kept."""

    @classmethod
    def available(cls) -> str | None:
        """None where this kernel and process offer the model, else the reason they do not."""

    def start_operation(self, operation: Operation) -> int:
        """Submit, with the books kept: SUBMIT_PENDING or SUBMIT_COMPLETED."""

    def stop_operation(self, operation: Operation) -> int:
        """Cancel, with the books kept: CANCEL_CANCELLED or CANCEL_PENDING."""

    def make_pool(self, count: int, size: int) -> None:
        """Where receive operations put their bytes; once, before the first of them."""

    def perform(self, operation: Operation, length_max: int | None = None) -> int:
        """Try *operation* without waiting: NOT_DONE, DONE or DONE_AND_EXHAUSTED."""

    def goes_on(self, operation: Operation) -> bool:
        """After perform() answered DONE: is this multishot operation to be tried again?"""

    def complete(
        self, operation: Operation, result: int, flags: int = 0, *, more: bool = False
    ) -> None:
        """Queue a completion of *operation*, with operation.flags as perform() left them."""

    def perform_soon(self, operation: Operation) -> int:
        """The descriptor of a composed operation is ready: perform it in the loop's turn."""

    def complete_cancelled(self, operation: Operation) -> None:
        """Queue the end of an operation whose cancel() answered CANCEL_PENDING."""

    def open(self) -> None:
        """Make what the kernel needs; called once, when the loop is made."""

    def time(self) -> float:
        """The model's clock, in seconds; the loop asks it where has_own_clock is true."""

    def bind(self) -> None:
        """This thread is going to run the loop; called at each start."""

    def unbind(self) -> None:
        """This thread runs the loop no more, or is about to start a child process."""

    def submit(self, operation: Operation) -> int:
        """SUBMIT_PENDING: it will complete.  SUBMIT_COMPLETED: see operation.result."""

    def cancel(self, operation: Operation) -> int:
        """CANCEL_CANCELLED: it will not complete.  CANCEL_PENDING: it still will, once."""

    def wait(self, timeout_s: float) -> None:
        """Queue what has completed; wait for that *timeout_s* seconds, for ever if negative."""

    def flush(self) -> None:
        """Hand over at once what was submitted or cancelled."""

    def lend(self, fd: int) -> None:
        """The owner of *fd* lets others call the kernel with it, and will not block."""

    def forget(self, fd: int) -> None:
        """The owner of *fd* is about to close it."""

    def takes_file(self, kind: int) -> bool:
        """Does it do file operations of that kind?  What it does not, a thread does."""

    def close(self) -> None:
        """Give everything back; nothing completes any more."""
