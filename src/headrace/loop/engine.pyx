"""The engine: callbacks, timers, waking, and the turn of the loop.

A turn: write what transports have gathered, wait (not at all if something is ready), add the
timers that are due, run what was ready by then.  What callbacks schedule runs in the next turn,
as in asyncio.
"""

import socket
import time
from asyncio import base_events, format_helpers

from cpython.exc cimport PyErr_CheckSignals

from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.handle cimport Handle, TimerHandle, make_handle
from headrace.core.operation cimport ReceiveOperation
from headrace.core.ready_queue cimport ReadyQueue, Runnable, ready_push, ready_run_first
from headrace.core.statistics cimport CALL_WRITE, Statistics
from headrace.core.timer_heap cimport TimerHeap
from headrace.kernel.time cimport monotonic_seconds
from headrace.kernel.unistd cimport write
from headrace.models.contract cimport Model

# As asyncio: no wait is longer than a day.
cdef double WAIT_S_MAX = 24 * 3600.0

cdef extern from "Python.h":
    object PyContext_CopyCurrent()


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
        # Of a loop that is closed the last reference frees it, as asyncio's.
        self.loop = None


cdef class LoopCore:
    def __cinit__(self, *arguments, **keywords):
        self.ready = ReadyQueue()
        self.flushes = ReadyQueue()
        self.timers = TimerHeap()
        self.counts = Statistics()
        self.transports = DescriptorTable()
        self.lingering = set()
        self.resolution_s = time.get_clock_info("monotonic").resolution
        self._closed = True

    cdef int set_up(self, Model model) except -1:
        model.connect(self.ready, self.counts)
        model.open()
        self._model = model
        self.waker = Waker(self)
        return 0

    def _open(self, Model model):
        self.set_up(model)

    # Callbacks.

    def call_soon(self, callback, *args, context=None):
        cdef Handle handle
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        handle = make_handle(self, callback, args, context)
        if self._debug:
            handle._source_traceback = caller_stack()
        ready_push(self.ready, handle, 0, 0)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        cdef Handle handle
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        handle = make_handle(self, callback, args, context)
        if self._debug:
            handle._source_traceback = caller_stack()
        ready_push(self.ready, handle, 0, 0)
        self.wake()
        return handle

    def call_later(self, delay, callback, *args, context=None):
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self.now() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        cdef TimerHandle handle
        cdef double when_s
        if when is None:
            raise TypeError("when cannot be None")
        if when != when:
            # It would compare as neither before nor after any other, and stop them all.
            raise ValueError("when cannot be NaN")
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        when_s = when
        handle = TimerHandle.__new__(TimerHandle)
        handle.loop = self
        handle.callback = callback
        handle.arguments = args
        handle.context = PyContext_CopyCurrent() if context is None else context
        handle._when = when
        handle.heap = self.timers
        if self._debug:
            handle._source_traceback = caller_stack()
        self.timers.push(handle, when_s)
        return handle

    def _add_callback(self, Handle handle):
        """Queue a handle that was made elsewhere (asyncio's own cold paths do)."""
        if not handle.is_cancelled:
            ready_push(self.ready, handle, 0, 0)

    def _add_callback_signalsafe(self, Handle handle):
        self._add_callback(handle)
        self.wake()

    def _write_to_self(self):
        self.wake()

    def time(self):
        return monotonic_seconds()

    cdef double now(self) except? -1:
        return self.time()

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

    cdef int turn(self) except -1:
        self.counts.counters.loop_iterations += 1
        if self.flushes.count:
            self.flush_transports()
        if self.ready.count or self._stopping:
            self._model.wait(0)
        else:
            self.wait_for_completions()
        if self.timers.count:
            self.take_due_timers()
        return self.run_ready()

    cdef int wait_for_completions(self) except -1:
        cdef double timeout_s = -1
        # Before asking the clock, which may be Python and let another thread call us.
        self.is_waiting = True
        try:
            if self.timers.count:
                timeout_s = self.timers.entries[0].when - self.now()
                timeout_s = min(max(timeout_s, 0), WAIT_S_MAX)
            self._model.wait(timeout_s)
        finally:
            self.is_waiting = False
            self.is_woken = False
        return PyErr_CheckSignals()

    cdef int take_due_timers(self) except -1:
        cdef double end = self.now() + self.resolution_s
        while self.timers.count and self.timers.entries[0].when < end:
            ready_push(self.ready, self.timers.pop(), 0, 0)
        return 0

    cdef int run_ready(self) except -1:
        cdef size_t count = self.ready.count
        if self._debug:
            return self.run_ready_timed(count)
        while count:
            count -= 1
            ready_run_first(self.ready)
        if self.ready.count == 0:
            self.ready.shrink()
        return 0

    cdef int run_ready_timed(self, size_t count) except -1:
        """run_ready() in debug mode: says which callback held the loop up."""
        cdef Runnable runnable
        cdef double start
        cdef bint is_reported
        while count:
            count -= 1
            runnable = <Runnable>self.ready.entries[self.ready.head].runnable
            is_reported = not runnable.is_housekeeping()
            start = monotonic_seconds()
            if isinstance(runnable, Handle):
                self._current_handle = runnable
            try:
                ready_run_first(self.ready)
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
        self._model.close()
        while self.lingering:
            self.lingering.pop()._release()
        self.ready.clear()
        self.flushes.clear()
        self.timers.clear()
        self.transports.clear()
        self.waker.close()

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
        return self.ready.count + self.flushes.count + self.timers.count


cdef object caller_stack():
    return format_helpers.extract_stack()
