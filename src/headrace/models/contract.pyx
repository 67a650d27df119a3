"""The contract of a model: what the loop sees, and what a model is told.

A model takes operations and completes them.  Its verbs:

    open()             make what the kernel needs; called once, when the loop is made
    bind()             this thread is going to run the loop; called at each start, so that a
                       model can notice another thread than last time, or a fork
    unbind()           this thread runs the loop no more, or is about to start a child process,
                       which inherits what the thread has blocked; bind() follows
    submit(operation)  PENDING: it will complete through the ready queue.  COMPLETED: it is done
                       already, its result stands in operation.result, completed() is not called
    cancel(operation)  CANCELLED: it will not complete, its memory is free.  PENDING: it will
                       still complete once (perhaps with a result, perhaps with -ECANCELED), and
                       its memory stays the kernel's until then
    wait(timeout_s)    put what has completed into the ready queue; wait for that at most
                       timeout_s seconds, for ever if negative, not at all if 0
    flush()            hand over at once what was submitted or cancelled (before a close(2))
    lend(fd)           the owner of fd lets others call the kernel with it, and will not block
    forget(fd)         the owner of fd is about to close it
    takes_file(kind)   does it do file operations of that kind (capability file_operations)?
    time()             the model's own clock in seconds; asked only where has_own_clock is true
    close()            give everything back; nothing completes any more

Bookkeeping stands here, once: which operations are in flight, their states, the counts.  The
loop calls start() and stop(), which keep the books and call the verbs.  There is no verb to
wake a waiting model: the loop's socket pair is a descriptor like any other, and a byte written
to it wakes every model by the same path that data takes.
"""

from headrace.kernel.errno cimport ECANCELED

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, STATE_CANCELLING, STATE_IDLE, STATE_IN_FLIGHT, InFlight, Operation, Outcome,
    ReceiveOperation,
)
from headrace.core.ready_queue cimport MORE, ReadyQueue, Runnable, ready_push
from headrace.core.statistics cimport Statistics
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.time cimport monotonic_seconds

SUBMIT_PENDING = PENDING
SUBMIT_COMPLETED = COMPLETED
CANCEL_PENDING = PENDING
CANCEL_CANCELLED = CANCELLED


cdef class ComposedStep(Runnable):
    """A composed operation that waits for its turn: see Model.perform_soon()."""

    cdef Model model
    cdef Operation operation

    def __repr__(self):
        return f"<ComposedStep operation={self.operation!r}>"

    cdef int run(self, int result, unsigned int flags) except -1:
        cdef Operation operation = self.operation
        if operation.state == STATE_CANCELLING or not self.model.is_open:
            return operation.run(-ECANCELED, 0)
        if operation.is_orphaned():
            return operation.run(operation.result, 0)
        if is_to_put_off(self.model, operation):
            return self.model.put_off_step(self, 0)
        # Still `queued` meanwhile: the model does not have it, and must not be asked to cancel it.
        try:
            while self.perform():
                pass
        finally:
            if operation.queued:
                self.submit_again()
        return 0

    cdef bint perform(self) except -1:
        """Perform once; whether there is more to be had at once."""
        cdef Operation operation = self.operation
        cdef bint more
        cdef Outcome outcome = operation.perform_now(&self.model.statistics.counters)
        if outcome == OUTCOME_NOT_DONE:
            return False
        self.model.statistics.counters.completions += 1
        if not operation.goes_on():
            operation.run(operation.result, operation.flags)
            return False
        note_received(self.model, operation)
        more = has_more(self.model, operation, outcome)
        operation.run(operation.result, operation.flags | MORE)
        return more and operation.state == STATE_IN_FLIGHT

    cdef int submit_again(self) except -1:
        """It was not done after all, or goes on: the model waits again."""
        cdef Operation operation = self.operation
        operation.queued = False
        if operation.state == STATE_CANCELLING or not self.model.is_open:
            return operation.run(-ECANCELED, 0)
        try:
            if self.model.submit(operation) == PENDING:
                return 0
        except OSError as error:
            return operation.run(-<int>error.errno, 0)
        self.model.statistics.counters.completions += 1
        return operation.run(operation.result, operation.flags)

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        if self.operation is not None:  # else the garbage collector has been here
            self.operation.retire()


cdef class Model:
    name = "model"
    stevens = ""
    waits = ""
    copies = ""
    system_calls = ()
    signals_needed = ()
    capabilities = {
        "edge_triggered": False,
        "cancels_at_once": False,
        "multishot": False,
        "batches": False,
        "regular_files": False,
        "file_operations": False,
        "descriptor_max": None,
        "prompt": False,
    }
    has_own_clock = False
    # Does wait(0) cost no system call where nothing has happened?
    looks_for_free = False

    def __cinit__(self, *arguments, **keywords):
        self.in_flight = InFlight()
        self.put_off = ReadyQueue()
        self.generation = fork_generation()

    def __del__(self):
        # The garbage collector calls this before it clears anything: what the kernel may still
        # write to must not go before its ring does, nor a buffer's pool before the completion
        # that has to give the buffer back.
        if self.is_open:
            self.close()
            if self.ready is not None:
                self.ready.clear()
            self.put_off.clear()

    def connect(self, ReadyQueue ready, Statistics statistics):
        """Tell the model where completions go and where counts are kept."""
        self.ready = ready
        self.statistics = statistics

    def __repr__(self):
        state = "open" if self.is_open else "closed"
        return f"<{type(self).__name__} {self.name!r} {state} in_flight={self.in_flight.count}>"

    @classmethod
    def available(cls):
        """None where this kernel and process offer the model, else the reason they do not."""
        return None

    # What the loop calls.

    cdef int start(self, Operation operation) except -1:
        """Submit, with the books kept: PENDING or COMPLETED, as submit() answers."""
        cdef int answer
        if operation.state != STATE_IDLE:
            raise RuntimeError(f"{operation!r} is in flight already")
        if isinstance(operation, ReceiveOperation) and not operation.composed:
            (<ReceiveOperation>operation).pool = self.pool
        operation.state = STATE_IN_FLIGHT
        self.is_fresh = True
        self.in_flight.add(operation)
        self.statistics.counters.operations[operation.kind] += 1
        try:
            answer = self.submit(operation)
        except BaseException:
            operation.retire()
            raise
        if answer == COMPLETED:
            self.statistics.counters.completions += 1
            operation.retire()
        return answer

    cdef int stop(self, Operation operation) except -1:
        """Cancel, with the books kept: CANCELLED or PENDING, as cancel() answers."""
        if operation.state == STATE_IDLE:
            return CANCELLED
        if operation.state == STATE_CANCELLING:
            return PENDING
        operation.state = STATE_CANCELLING
        self.is_fresh = True
        if operation.queued:
            # Its terminal completion stands in the ready queue already.
            return PENDING
        if self.cancel(operation) == CANCELLED:
            operation.retire()
            return CANCELLED
        return PENDING

    cdef int put_off_step(self, Runnable step, int result) except -1:
        """Let *step*, for which is_to_put_off() holds, come up in a later turn.

        A hundred readers that 100 KiB have come for, all received in one turn, are 10 MiB before
        the first of them runs: out of the cache, in memory that is fetched from the kernel and
        given back each time.  So what is ready to be received when the turn has brought enough
        waits until those who were given that have run, and the kernel is asked for no more.
        """
        return ready_push(self.put_off, step, result, 0)

    def start_operation(self, Operation operation):
        """start(), for tests and tools."""
        return self.start(operation)

    def stop_operation(self, Operation operation):
        """stop(), for tests and tools."""
        return self.stop(operation)

    # What a model in Python calls.

    def make_pool(self, int count, size_t size):
        """Where receive operations put their bytes; once, before the first of them."""
        self.pool = BufferPool(count, size)

    def perform(self, Operation operation, length_max=None):
        """Try *operation* without waiting: NOT_DONE, DONE or DONE_AND_EXHAUSTED.

        With *length_max*, a send or a receive into memory moves at most that many bytes.
        """
        cdef size_t length
        if length_max is None or not operation.length:
            return operation.perform(&self.statistics.counters)
        length = operation.length
        operation.length = min(length, <size_t>length_max)
        try:
            return operation.perform(&self.statistics.counters)
        finally:
            operation.length = length

    def goes_on(self, Operation operation):
        """After perform() answered DONE: is this multishot operation to be tried again?"""
        return operation.goes_on()

    def complete(self, Operation operation, int result, unsigned int flags=0, *, bint more=False):
        """Queue a completion of *operation*, with operation.flags as perform() left them."""
        self.statistics.counters.completions += 1
        if more:
            flags |= MORE
        else:
            operation.queued = True
            operation.result = result
        ready_push(self.ready, operation, result, flags)

    cpdef int perform_soon(self, Operation operation) except -1:
        """The descriptor of a composed operation is ready: perform it in the loop's turn.

        Nothing can come between the data and its owner there; if it turns out that the
        operation is not to be done yet, or if it goes on, it is submitted again.
        """
        cdef ComposedStep step = ComposedStep.__new__(ComposedStep)
        step.model = self
        step.operation = operation
        operation.queued = True
        operation.result = 0  # not what an attempt before has left: nothing is done yet
        return ready_push(self.ready, step, 0, 0)

    cdef int refuse_in_child(self) except -1:
        """A loop that was running at a fork must not go on in the child: the kernel's is shared."""
        if self.generation != fork_generation():
            raise RuntimeError(
                "this event loop was running when the process was forked; "
                "make a new one in the child"
            )
        return 0

    def complete_cancelled(self, Operation operation):
        """Queue the end of an operation whose cancel() answered PENDING."""
        self.complete(operation, -ECANCELED)

    # What a model implements.

    cpdef open(self):
        raise NotImplementedError(f"{type(self).__name__}.open")

    cpdef bind(self):
        pass

    cpdef unbind(self):
        pass

    cpdef int submit(self, Operation operation) except -1:
        raise NotImplementedError(f"{type(self).__name__}.submit")

    cpdef int cancel(self, Operation operation) except -1:
        raise NotImplementedError(f"{type(self).__name__}.cancel")

    cpdef wait(self, double timeout_s):
        raise NotImplementedError(f"{type(self).__name__}.wait")

    cpdef flush(self):
        pass

    cpdef lend(self, int fd):
        pass

    cpdef forget(self, int fd):
        pass

    cpdef bint takes_file(self, int kind) except -1:
        return self.capabilities.get("file_operations", False)

    def time(self):
        return monotonic_seconds()

    cpdef close(self):
        raise NotImplementedError(f"{type(self).__name__}.close")
