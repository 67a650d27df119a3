"""The simulated model: the contract as plain Python, with every fault that a kernel may show.

Descriptors and operations are real; when they complete is not left to the kernel but to a seeded
random source.  So this is the executable specification: what a program sees here, some real
model may do one day, on a busy machine or an old kernel; and one number repeats it.

What a seed may bring, each within the contract:

* a descriptor is ready and the attempt says "not now" all the same (EAGAIN after ready), or the
  wait ends with nothing (EINTR);
* a receive finds no buffer (ENOBUFS), or buffers so small that a stream comes in many pieces; a
  send takes fewer bytes than it was given; but a datagram is never cut;
* a multishot operation ends by itself and has to be armed again;
* completions come some turns late, and in another order between descriptors; never within one
  descriptor's stream;
* an operation that could complete at once waits; cancel() answers PENDING, and the operation
  ends later with -ECANCELED, or with the result that it had already.

Time is the model's own.  When nothing is ready and nothing can complete, the clock jumps to the
next deadline instead of waiting.  When there is no deadline either, nothing will ever happen again:
that is a DeadlockError, with the operations in flight.  Only where other threads exist does
the model wait for them, for a bounded real time.
"""

from __future__ import annotations

import errno
import os
import random
import select
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields

from headrace.core.datagram_operation import ReceiveDatagramsOperation
from headrace.core.file_operation import FileOperation
from headrace.core.operation import NOT_DONE, Operation, ReceiveOperation
from headrace.models.contract import (
    CANCEL_CANCELLED,
    CANCEL_PENDING,
    SUBMIT_COMPLETED,
    SUBMIT_PENDING,
    Model,
)

# A turn takes time too, or a program that polls the clock would never get anywhere.
TURN_S = 1e-6
START_S = 1000.0
# Real time in which other threads may still do something: before the clock jumps, and before
# the program is declared dead.
GRACE_JUMP_S = 0.02
GRACE_DEADLOCK_S = 5.0
# Where no other thread exists, only the kernel's own deferred work remains to be waited for.
GRACE_KERNEL_S = 0.1
RATES = (0.0, 0.05, 0.3)
TAKES_BUFFERS = (ReceiveOperation, ReceiveDatagramsOperation)


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong: probabilities from 0 to 1, and limits."""

    seed: int = 0
    not_ready: float = 0.0
    interrupted: float = 0.0
    no_buffer: float = 0.0
    short: float = 0.0
    ends_by_itself: float = 0.0
    late: float = 0.0
    late_turns_max: int = 3
    reordered: bool = False
    completes_at_once: float = 1.0
    cancel_pending: float = 0.0
    buffer_count: int = 4
    buffer_size: int = 65536
    short_bytes_max: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float) and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be a probability from 0 to 1, not {value}")
        if self.not_ready == 1 or self.interrupted == 1 or self.no_buffer == 1:
            raise ValueError("nothing could ever complete: some attempts must succeed")

    @classmethod
    def from_seed(cls, seed: int) -> Faults:
        """Faults of all kinds, often or seldom, as *seed* has it."""
        source = random.Random(seed)
        return cls(
            seed=seed,
            not_ready=source.choice(RATES),
            interrupted=source.choice(RATES),
            no_buffer=source.choice(RATES),
            short=source.choice(RATES),
            ends_by_itself=source.choice(RATES),
            late=source.choice(RATES),
            late_turns_max=source.choice((1, 3, 8)),
            reordered=source.random() < 0.5,
            completes_at_once=source.choice((0.0, 0.5, 1.0)),
            cancel_pending=source.choice((0.0, 0.5, 1.0)),
            buffer_count=source.choice((1, 2, 8)),
            buffer_size=source.choice((1000, 4096, 65536)),
            short_bytes_max=source.choice((1000, 10_000)),
        )


class DeadlockError(RuntimeError):
    """Nothing can happen any more: no timer, nothing ready, no thread that would do anything."""


class InvariantError(AssertionError):
    """The contract was broken; the message names the operation and the seed."""


@dataclass
class Late:
    """A completion that is waiting to be told."""

    due_turn: int
    operation: Operation
    result: int
    flags: int
    more: bool


class Lane:
    """One direction of one descriptor: operations wait in line, completions stay in order."""

    def __init__(self) -> None:
        self.waiting: list[Operation] = []
        self.late: deque[Late] = deque()


class SimulatedModel(Model):
    """A model whose faults a seed decides; for tests, on purpose not among headrace.models()."""

    name = "simulated"
    stevens = "any"
    waits = "nobody: the clock jumps"
    copies = "the loop thread, when the seed says so"
    system_calls = ("poll", "recv", "send", "accept4", "recvmmsg", "sendto")
    has_own_clock = True
    capabilities = {  # noqa: RUF012
        "edge_triggered": False,
        "cancels_at_once": False,
        "multishot": True,
        "batches": True,
        "regular_files": True,
        "file_operations": True,
        "descriptor_max": None,
        "prompt": False,
    }

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = Faults() if faults is None else faults
        self.make_pool(self.faults.buffer_count, self.faults.buffer_size)
        self._random = random.Random(self.faults.seed)
        self._now_s = START_S
        self._turn = 0
        self._pid = os.getpid()
        self._put_off = False
        self._lanes: dict[tuple[int, str], Lane] = {}
        # What stands here has been submitted and has not ended; the turn of its last completion.
        self._live: dict[Operation, int] = {}
        self._resting: dict[Operation, int] = {}
        self._cancelling: dict[Operation, int] = {}

    def __repr__(self) -> str:
        return f"<SimulatedModel seed={self.faults.seed} turn={self._turn} live={len(self._live)}>"

    # The contract.

    def time(self) -> float:
        return self._now_s

    def open(self) -> None:
        self.is_open = True

    def bind(self) -> None:
        self._pid = os.getpid()

    def submit(self, operation: Operation) -> int:
        self._require(operation not in self._live, operation, "was submitted twice")
        lane = self._lane(operation)
        at_once = operation.eager and not lane.waiting and not lane.late
        if (
            at_once
            and self._happens(self.faults.completes_at_once)
            and self.perform(operation, self._length_max()) != NOT_DONE
        ):
            return SUBMIT_COMPLETED
        lane.waiting.append(operation)
        self._live[operation] = -1
        return SUBMIT_PENDING

    def cancel(self, operation: Operation) -> int:
        self._require(operation in self._live, operation, "was cancelled and is not in flight")
        lane = self._lane(operation)
        if self._pid != os.getpid():
            return self._take_back(operation, lane)
        told_in_this_turn = self._live[operation] == self._turn
        told_later = any(late.operation is operation for late in lane.late)
        if told_in_this_turn or told_later or self._happens(self.faults.cancel_pending):
            self._cancelling[operation] = self._turn + self._lateness()
            return CANCEL_PENDING
        return self._take_back(operation, lane)

    def wait(self, timeout_s: float) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(
                "this event loop was running when the process was forked; "
                "make a new one in the child"
            )
        self._turn += 1
        self._now_s += TURN_S
        self._put_off = False
        self._check_buffers()
        if self._happens(self.faults.interrupted):
            return
        before = self.ready.count
        self._attempt_all(self._poll(0))
        self._end_cancelled()
        self._tell_late()
        if timeout_s != 0 and self.ready.count == before and not self._is_busy():
            self._wait_idle(timeout_s)

    def forget(self, fd: int) -> None:
        """From here on the number may be another's: nothing may touch it any more."""
        for direction in ("read", "write", "poll"):
            lane = self._lanes.get((fd, direction), Lane())
            for operation in list(lane.waiting):
                self._require(
                    operation in self._cancelling, operation, "waits on a forgotten descriptor"
                )
                self._end(operation, lane)

    def close(self) -> None:
        """What has completed is told, so that its buffers and descriptors are given back."""
        if not self.is_open:
            return
        self.is_open = False
        for lane in self._lanes.values():
            while lane.late:
                self._tell(lane.late.popleft())
        for operation in list(self._live):
            self._finish(operation)
            self.complete_cancelled(operation)
        self._lanes.clear()

    # Who waits, and who may go.

    def _lane(self, operation: Operation) -> Lane:
        if isinstance(operation, FileOperation):
            # Files have no order and no readiness: each operation is a lane of its own.
            return self._lanes.setdefault((id(operation), "file"), Lane())
        if operation.kind_name == "poll":
            direction = "poll"
        else:
            direction = "read" if operation.wants_read else "write"
        return self._lanes.setdefault((operation.fd, direction), Lane())

    def _poll(self, timeout_s: float) -> set[int]:
        """The descriptors on which something waits and that are ready, or closed."""
        poll = select.poll()
        events: dict[int, int] = {}
        files = set()
        for operation in self._waiting():
            if isinstance(operation, FileOperation):
                files.add(id(operation))
                continue
            wanted = select.POLLIN if operation.wants_read else 0
            wanted |= select.POLLOUT if operation.wants_write else 0
            events[operation.fd] = events.get(operation.fd, 0) | wanted
        for fd, wanted in events.items():
            poll.register(fd, wanted)
        ready = {fd for fd, _ in poll.poll(0 if files else timeout_s * 1000)}
        return ready | files

    def _waiting(self) -> Iterator[Operation]:
        for lane in self._lanes.values():
            yield from lane.waiting

    def _attempt_all(self, ready: set[int]) -> None:
        for (fd, direction), lane in self._shuffled_lanes():
            if fd not in ready:
                continue
            # Pollers take nothing from the stream: all of them are told, not only the first.
            for operation in lane.waiting[: None if direction == "poll" else 1]:
                self._attempt(operation, lane)

    def _attempt(self, operation: Operation, lane: Lane) -> None:
        if self._resting.get(operation, 0) > self._turn or self._happens(self.faults.not_ready):
            self._put_off = True
            return
        if isinstance(operation, TAKES_BUFFERS) and self._happens(self.faults.no_buffer):
            self._put_off = True
            return
        if operation.composed:
            if operation not in self._cancelling:
                # It ends in the loop's turn, or comes back through submit().
                lane.waiting.remove(operation)
                self._finish(operation)
                self.perform_soon(operation)
            return
        is_late = self._happens(self.faults.late)
        if is_late and operation.kind_name == "poll":
            # Readiness is news of this turn or none: what is told late is looked at late.
            self._resting[operation] = self._turn + self._lateness()
            self._put_off = True
            return
        if self.perform(operation, self._length_max()) == NOT_DONE:
            return
        more = self.goes_on(operation)
        if not more:
            lane.waiting.remove(operation)
        elif self._happens(self.faults.ends_by_itself):
            self._resting[operation] = self._turn + self._lateness()
        due_turn = self._turn + self._lateness() if is_late else 0
        lane.late.append(Late(due_turn, operation, operation.result, operation.flags, more))

    # Telling.

    def _tell_late(self) -> None:
        for _, lane in self._shuffled_lanes():
            while lane.late and lane.late[0].due_turn <= self._turn:
                self._tell(lane.late.popleft())
        for key in [key for key, lane in self._lanes.items() if not lane.waiting and not lane.late]:
            del self._lanes[key]

    def _tell(self, late: Late) -> None:
        operation = late.operation
        self._require(operation in self._live, operation, "completed after its end")
        if late.more:
            self._live[operation] = self._turn
        else:
            self._finish(operation)
        self.complete(operation, late.result, late.flags, more=late.more)

    def _finish(self, operation: Operation) -> None:
        self._require(operation in self._live, operation, "ended twice")
        del self._live[operation]
        self._resting.pop(operation, None)
        self._cancelling.pop(operation, None)

    # Cancelling.

    def _take_back(self, operation: Operation, lane: Lane) -> int:
        if operation in lane.waiting:
            lane.waiting.remove(operation)
        self._finish(operation)
        return CANCEL_CANCELLED

    def _end_cancelled(self) -> None:
        for operation, due_turn in list(self._cancelling.items()):
            lane = self._lane(operation)
            if due_turn <= self._turn and operation in lane.waiting:
                self._end(operation, lane)

    def _end(self, operation: Operation, lane: Lane) -> None:
        """-ECANCELED, behind what was taken from the stream before."""
        lane.waiting.remove(operation)
        lane.late.append(Late(self._turn, operation, -errno.ECANCELED, 0, False))

    # Time.

    def _is_busy(self) -> bool:
        """Will something happen by itself in a later turn?"""
        return (
            self._put_off
            or bool(self._cancelling)
            or any(lane.late for lane in self._lanes.values())
        )

    def _wait_idle(self, timeout_s: float) -> None:
        """Nothing can complete: let others do something, then jump, or give up."""
        has_others = threading.active_count() > 1
        if has_others and self._poll(GRACE_JUMP_S):
            return
        if timeout_s > 0:
            self._now_s += timeout_s
        elif not self._poll(GRACE_DEADLOCK_S if has_others else GRACE_KERNEL_S):
            raise DeadlockError(
                f"nothing can happen any more (seed {self.faults.seed}): no timer is set and "
                f"nothing is ready for {[*self.in_flight]}"
            )

    # Chance, and what must hold.

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _lateness(self) -> int:
        return self._random.randint(1, self.faults.late_turns_max)

    def _length_max(self) -> int | None:
        if self._happens(self.faults.short):
            return self._random.randint(1, self.faults.short_bytes_max)
        return None

    def _shuffled_lanes(self) -> list[tuple[tuple[int, str], Lane]]:
        order = list(self._lanes.items())
        if self.faults.reordered:
            self._random.shuffle(order)
        return order

    def _require(self, condition: bool, operation: Operation, broken: str) -> None:
        if not condition:
            raise InvariantError(f"{operation!r} {broken} (seed {self.faults.seed})")

    def _check_buffers(self) -> None:
        """Once the loop has run what was ready, only late completions may hold a buffer."""
        held = sum(
            isinstance(late.operation, ReceiveOperation) and late.result > 0
            for lane in self._lanes.values()
            for late in lane.late
        )
        if self.ready.count == 0 and self.pool.idle_count + held != self.pool.count:
            raise InvariantError(
                f"{self.pool!r}: buffers were not given back (seed {self.faults.seed})"
            )
