"""The engine: the turn of the loop, waking, starting and ending.

A turn: write what transports have gathered, wait (not at all if something is ready), add the
timers that are due, run what was ready by then.  What callbacks schedule runs in the next turn,
as in asyncio.
"""

import socket
import time
from asyncio import base_events

from cpython.exc cimport PyErr_CheckSignals

from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.handle cimport Handle
from headrace.core.operation cimport ReceiveOperation
from headrace.core.ready_queue cimport ReadyQueue, Runnable, ready_push, ready_run_first
from headrace.core.statistics cimport CALL_WRITE, Statistics
from headrace.kernel.time cimport monotonic_seconds
from headrace.kernel.unistd cimport write
from headrace.loop.scheduling cimport Scheduling
from headrace.models.contract cimport Model, has_received_enough

# As asyncio: no wait is longer than a day.
cdef double WAIT_S_MAX = 24 * 3600.0
# While callbacks are ready and so many polls, one after the other, have brought nothing, the kernel
# is asked no more often than this: a call of 0.3 us in each turn is as much as a turn costs.
cdef int QUIET_POLLS_MAX = 8
cdef double POLL_PAUSE_S = 20e-6
# A turn that has so few connections to write to: a model that would hand all over in one call
# gains nothing by waiting with them.
cdef size_t FEW_SENDS_MAX = 2


cdef class Waker(ReceiveOperation):
    """Reads the loop's socket pair: zero bytes wake, others are numbers of signals."""

    def __init__(self, LoopCore loop):
        self.loop = loop
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)
        self.writer_fd = self.writer.fileno()
        ReceiveOperation.__init__(self, self.reader.fileno())

    cdef bint is_housekeeping(self) noexcept:
        return True

    cdef int received(self, const char *data, int result) except -1:
        cdef int index
        for index in range(result if data != NULL else 0):
            if data[index] and self.loop is not None:
                self.loop._handle_signal(<unsigned char>data[index])
        return 0

    def close(self):
        self.reader.close()
        self.writer.close()
        # As in _close_core().
        self.loop = None


cdef class LoopCore(Scheduling):
    def __cinit__(self, *arguments, **keywords):
        self.flushes = ReadyQueue()
        self.counts = Statistics()
        self.transports = DescriptorTable()
        self.lingering = set()
        self.resolution_s = time.get_clock_info("monotonic").resolution

    cdef int set_up(self, Model model) except -1:
        model.connect(self.ready, self.counts)
        model.open()
        self._model = model
        # A clock of its own says that its turns are counted, too.
        self.polls_always = model.looks_for_free or model.has_own_clock
        self.waker = Waker(self)
        return 0

    def _open(self, Model model):
        self.set_up(model)

    # Waking.

    cdef int wake(self) noexcept:
        """Make a waiting loop return.  All who call hold the GIL, so two flags suffice."""
        if self.is_waiting and not self.is_woken:
            self.is_woken = True
            self.counts.counters.system_calls[CALL_WRITE] += 1
            write(self.waker.writer_fd, b"\0", 1)
        return 0

    # The turn.

    def _run_once(self):
        """All turns until stop(); asyncio's run_forever() calls this in a loop of its own."""
        try:
            while True:
                self.turn()
                if self._stopping:
                    break
        finally:
            # Nobody may come back: what was written in this turn goes out now.
            self.flush_transports()
            self._model.flush()

    cdef unsigned long turn_number(self) noexcept:
        return <unsigned long>self.counts.counters.loop_iterations

    cdef int turn(self) except -1:
        self.counts.counters.loop_iterations += 1
        if self.flushes.count:
            self.flush_transports()
        self._model.received_bytes = 0
        # To flush may make a protocol go on writing, to this connection or another.
        if self._model.put_off.count:
            pass  # the last poll has brought more than one turn takes
        elif not (self.ready.count or self.flushes.count or self._stopping):
            self.wait_for_completions()
        elif self.is_poll_due():
            self.poll()
        if self.timers.count:
            self.take_due_timers()
        return self.run_ready()

    cdef bint is_poll_due(self) except -1:
        """Callbacks are ready: is the kernel to be asked all the same, before they run?

        Each turn, as asyncio does, unless that would bring nothing: callbacks that only call others
        ask it every POLL_PAUSE_S, and so does nobody pay for a system call in each of their turns.
        """
        if self.polls_always or self._model.is_fresh or self._stopping:
            return True
        if self.quiet_polls < QUIET_POLLS_MAX:
            return True
        return monotonic_seconds() - self.polled_s >= POLL_PAUSE_S

    cdef int poll(self) except -1:
        cdef size_t before = self.ready.count
        self._model.is_fresh = False
        self._model.wait(0)
        if self.ready.count != before:
            self.quiet_polls = 0
        elif self.quiet_polls < QUIET_POLLS_MAX:
            self.quiet_polls += 1
        else:
            self.polled_s = monotonic_seconds()
        return 0

    cdef int wait_for_completions(self) except -1:
        cdef double timeout_s
        self.quiet_polls = 0
        self._model.is_fresh = False
        # Before asking the clock, which may be Python and let another thread call us.
        self.is_waiting = True
        try:
            timeout_s = self.time_left()
            if self.spin_s > 0 and timeout_s != 0:
                # A signal that came meanwhile may have no byte to wake the wait that follows.
                if self.spin(timeout_s) or PyErr_CheckSignals() or self._stopping:
                    return PyErr_CheckSignals()
                timeout_s = 0 if self.ready.count else self.time_left()
            self._model.wait(timeout_s)
        finally:
            self.is_waiting = False
            self.is_woken = False
        return PyErr_CheckSignals()

    cdef double time_left(self) except? -2:
        """Seconds until the first timer is due; -1 where there is none."""
        if not self.timers.count:
            return -1
        return min(max(self.timers.first_when() - self.now(), 0), WAIT_S_MAX)

    cdef bint spin(self, double timeout_s) except -1:
        """Ask again and again for at most spin_s; True if something has come.

        To be woken costs 10 to 30 us where the processor has gone to sleep, and a core is what
        this costs.  Other threads may have the interpreter in between.
        """
        cdef double end = monotonic_seconds() + (
            self.spin_s if timeout_s < 0 else min(timeout_s, self.spin_s)
        )
        while True:
            # First of all: a turn may be native code alone, which lets nobody else in.
            with nogil:
                pass
            self._model.wait(0)
            if self.ready.count:
                return True
            if monotonic_seconds() >= end:
                return False

    cdef int take_due_timers(self) except -1:
        cdef double end = self.now() + self.resolution_s
        while self.timers.count and self.timers.first_when() < end:
            ready_push(self.ready, self.timers.pop(), 0, 0)
        return 0

    cdef int run_ready(self) except -1:
        cdef size_t count = self.ready.count
        cdef bint is_timed = self._debug
        while count:
            count -= 1
            if is_timed:
                self.run_first_timed(self.ready)
            else:
                ready_run_first(self.ready)
        if self.ready.count == 0:
            self.ready.shrink()
        if self._model.put_off.count:
            self.run_put_off()
        return 0

    cdef int run_put_off(self) except -1:
        """What would have been too much for the turn before: see Model.put_off_step()."""
        cdef ReadyQueue put_off = self._model.put_off
        cdef size_t count = put_off.count
        while count and not has_received_enough(self._model):
            count -= 1
            if self._debug:
                self.run_first_timed(put_off)
            else:
                ready_run_first(put_off)
        if put_off.count == 0:
            put_off.shrink()
        return 0

    cdef int run_first_timed(self, ReadyQueue queue) except -1:
        """ready_run_first() in debug mode: says which callback held the loop up."""
        cdef Runnable runnable = <Runnable>queue.entries[queue.head].runnable
        cdef bint is_reported = not runnable.is_housekeeping()
        cdef double start = monotonic_seconds()
        if isinstance(runnable, Handle):
            self._current_handle = runnable
        try:
            ready_run_first(queue)
        finally:
            self._current_handle = None
        duration_s = monotonic_seconds() - start
        if is_reported and duration_s >= self.slow_callback_duration:
            what = (
                base_events._format_handle(runnable)
                if isinstance(runnable, Handle) else repr(runnable)
            )
            base_events.logger.warning("Executing %s took %.3f seconds", what, duration_s)
        return 0

    cdef int claim(self, int fd) except -1:
        """*fd* becomes a transport's or a listener's: whoever watched the number does no more."""
        return 0

    cdef int flush_transports(self) except -1:
        cdef size_t count = self.flushes.count
        self._model.has_few_sends = count <= FEW_SENDS_MAX
        while count:
            count -= 1
            ready_run_first(self.flushes)
        return 0

    # Starting and ending.

    def _bind(self, bint forked):
        """This thread is going to run the loop."""
        # First of all: until then the ring or the epoll instance may be another process's.
        self._model.bind()
        if forked:
            # The pair is shared with the parent: a byte meant for one would wake the other.
            self._model.stop(self.waker)
            self._model.forget(self.waker.fd)
            self.waker.close()
            self.waker = Waker(self)
        if self.waker.state == 0:
            self._model.start(self.waker)

    def _unbind(self):
        """This thread runs the loop no more, or is about to start a child process."""
        self._model.unbind()

    def _close_core(self):
        # Of a loop that is closed the last reference frees it, as asyncio's.
        self.future_keywords = None
        self._model.close()
        while self.lingering:
            self.lingering.pop()._release()
        self.ready.clear()
        self._model.put_off.clear()
        self.flushes.clear()
        self.timers.clear()
        self.transports.clear()
        self.waker.close()

    @property
    def _spin_s(self):
        return self.spin_s

    @_spin_s.setter
    def _spin_s(self, double seconds):
        self.spin_s = seconds

    @property
    def _wake_writer(self):
        return self.waker.writer

    @property
    def model(self):
        return self._model.name

    def statistics(self):
        """What the loop and its model have done since the loop was made: counts, none of a time.

        * ``loop_iterations``: turns of the loop.
        * ``operations``: what was begun, by kind; ``completions``: what came of it, one for each
          piece of data and for each connection.  What succeeds at its first try is in neither
          where sock_*() makes it.
        * ``system_calls``: those of the loop, its model and their operations, by name.  Calls of
          the program's own, of Python's socket module and of the executor are not counted.
        * ``buffer_starvation``, ``completion_overflows``: how often a receive found no buffer,
          and the kernel no room in its completion ring or its queue of signals.  Both cost time,
          and lose nothing (on `aio`, each overflow ends a connection with EIO).
        * ``thread_rotations``: how often a thread was interrupted because there were none for
          others, who wait up to 10 ms each: more of them ($HEADRACE_THREADS) would be faster.

        A count that is zero is left out of the inner dictionaries.  Counting goes on always, at
        an increment each; asking costs about a microsecond, from any thread, also of a closed loop.
        """
        return self.counts.as_dict()

    def _operations_in_flight(self):
        """What is in flight, less the loop's own waker; for tests that look for leaks."""
        return [entry for entry in self._model.in_flight if entry is not self.waker]

    def _callbacks_pending(self):
        """How many callbacks and timers wait; for tests that look for leaks."""
        return (
            self.ready.count + self._model.put_off.count + self.flushes.count + self.timers.count
        )
