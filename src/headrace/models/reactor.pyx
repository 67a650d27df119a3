"""The reactor: completion made of readiness, once, for every readiness model.

A readiness model knows four verbs: add, modify, remove, wait ("which of these descriptors are
ready?").  The reactor makes a Model of any of them: an operation waits in the registration of
its descriptor, and when the descriptor is reported ready, the registration comes up in the
ready queue and tries the operation there.  Trying late, in the loop's turn, rather than in
wait() has two reasons: the bytes are still in the cache when the protocol sees them, and what
ran before in the same turn may have paused or closed.

Level or edge.  A level-triggered model repeats itself while data is left, so one attempt per
report is enough.  An edge-triggered one speaks once: `maybe_ready` remembers what it said until
an attempt shows that nothing is left (NOT_DONE, or DONE_AND_EXHAUSTED: epoll(7), a short read
or write means drained).  One exception, which loses the end of the stream if missed: data and
FIN that arrive together are one edge, so after a hang-up a short read is not the end.  A model
that does not tell the end of a stream from data (`tells_end`) speaks once for each instead: there
a second word since the last attempt makes a short read doubtful.
"""

from headrace.kernel.errno cimport EBADF, EMFILE

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.operation cimport (
    OUTCOME_DONE_AND_EXHAUSTED, OUTCOME_NOT_DONE, READABLE, STATE_IN_FLIGHT, WRITABLE, Operation,
    Outcome,
)
from headrace.core.ready_queue cimport MORE, ReadyQueue, Runnable, ready_push
from headrace.core.statistics cimport KIND_ACCEPT, KIND_POLL, Counters
from headrace.kernel cimport socket as socket_h
from headrace.kernel.fork cimport fork_generation
from headrace.models.contract cimport (
    CANCELLED, COMPLETED, PENDING, Model, has_more, is_to_put_off, note_received,
)

REPORTS_READABLE = READABLE
REPORTS_WRITABLE = WRITABLE
REPORTS_HANGUP = HANGUP
REPORTS_ENDING = ENDING

# Buffers are filled and emptied one at a time; a second one only if a callback runs a receive.
cdef int BUFFER_COUNT = 4
cdef size_t BUFFER_SIZE = 256 * 1024
# How often one report may accept, or end one operation and go on with the next, before others
# have their turn.
cdef int ATTEMPTS_PER_TURN_MAX = 64


cdef class Readiness:
    name = "readiness"
    stevens = "multiplexing"
    waits = ""
    copies = "the loop thread"
    system_calls = ()
    signals_needed = ()
    edge_triggered = False
    certain = True
    tells_end = True
    capabilities = {
        "edge_triggered": False,
        "cancels_at_once": True,
        "multishot": False,
        "batches": False,
        "regular_files": False,
        "file_operations": False,
        "descriptor_max": None,
        "prompt": True,
    }

    @classmethod
    def available(cls):
        """None where this kernel offers the model, else the reason it does not."""
        return None

    def attach(self, ReadyQueue ready, DescriptorTable table, statistics):
        self.ready = ready
        self.table = table
        self.statistics = statistics

    cdef int report(self, int fd, int events) except -1:
        """*fd* is ready for *events*: its registration comes up in the loop's turn."""
        cdef Registration registration
        cdef void *entry = <void *>self.table.get(fd)
        if entry == NULL:
            return 0
        registration = <Registration>entry
        if registration.merge(events):
            return 0
        return ready_push(self.ready, registration, events, 0)

    cdef int report_refused(self, int fd, int error) except -1:
        """*fd*, which add() has taken, cannot be watched after all: who waits for it fails."""
        cdef Registration registration
        cdef void *entry = <void *>self.table.get(fd)
        if entry == NULL:
            return 0
        registration = <Registration>entry
        registration.watched = 0
        return registration.fail_all(error)

    def report_ready(self, int fd, int events):
        """report(), for a model written in Python."""
        self.report(fd, events)

    cpdef open(self):
        pass

    cpdef bind(self):
        pass

    cpdef unbind(self):
        pass

    cpdef add(self, int fd, int events):
        raise NotImplementedError(f"{type(self).__name__}.add")

    cpdef modify(self, int fd, int events):
        raise NotImplementedError(f"{type(self).__name__}.modify")

    cpdef remove(self, int fd):
        raise NotImplementedError(f"{type(self).__name__}.remove")

    cpdef expect_writable(self, int fd):
        """Of an edge-triggered model: somebody waits for room who has not tried to write."""

    cpdef wait(self, double timeout_s):
        raise NotImplementedError(f"{type(self).__name__}.wait")

    cpdef close(self):
        pass


cdef class Registration(Runnable):
    """What waits on one descriptor: a queue of readers, one of writers, and pollers.

    Readers take from the stream, so they have their turn one after the other; pollers take
    nothing, so that all of them are told, and none stands in another's way.
    """

    def __repr__(self):
        return (f"<Registration fd={self.fd} watched={self.watched} "
                f"maybe_ready={self.maybe_ready} reader={self.reader!r} writer={self.writer!r} "
                f"poller={self.poller!r}>")

    cdef void insert(self, Operation operation) noexcept:
        cdef Operation last
        operation.behind = None
        if operation.kind == KIND_POLL:
            operation.behind = self.poller
            self.poller = operation
            return
        last = self.reader if operation.events & READABLE else self.writer
        if last is None:
            if operation.events & READABLE:
                self.reader = operation
            else:
                self.writer = operation
            return
        while last.behind is not None:
            last = last.behind
        last.behind = operation

    cdef bint take_out(self, Operation operation) noexcept:
        """Take *operation* out of its queue; False if it did not stand there."""
        cdef Operation before
        if self.reader is operation:
            self.reader = operation.behind
        elif self.writer is operation:
            self.writer = operation.behind
        elif self.poller is operation:
            self.poller = operation.behind
        else:
            if operation.kind == KIND_POLL:
                before = self.poller
            else:
                before = self.reader if operation.events & READABLE else self.writer
            while before is not None and before.behind is not operation:
                before = before.behind
            if before is None:
                return False
            before.behind = operation.behind
        operation.behind = None
        return True

    cdef int wanted(self) noexcept:
        cdef Operation poller = self.poller
        cdef int wanted = (
            (READABLE if self.reader is not None else 0)
            | (WRITABLE if self.writer is not None else 0)
        )
        while poller is not None:
            wanted |= poller.events
            poller = poller.behind
        return wanted

    cdef bint is_housekeeping(self) noexcept:
        return self.reader is not None and self.reader.is_housekeeping()

    cdef bint merge(self, int events) noexcept:
        """An edge where another attempt is queued: that one will do, pollers run once in a turn."""
        if not self.queued or events & (HANGUP | ENDING):
            return False
        self.remember(events)
        return True

    cdef void remember(self, int events) noexcept:
        """Keep what an edge has said until an attempt shows that nothing is left."""
        if events & self.maybe_ready & READABLE and not self.reactor.tells_end:
            self.doubtful = True
        self.maybe_ready |= events & (READABLE | WRITABLE)

    cdef int run(self, int events, unsigned int flags) except -1:
        cdef Reactor reactor = self.reactor
        if reactor is None:
            return 0  # forgotten or closed since it was reported
        if self.reader is not None and not reactor.edge_triggered:
            # What an edge has said comes up again without a poll, before those that are put off:
            # two of that kind would have nobody polled for as long as they receive.
            if is_to_put_off(reactor, self.reader):
                return reactor.put_off_step(self, events)
        if events & AGAIN:
            self.queued = False
            events |= self.maybe_ready & self.wanted()
        if events & (HANGUP | ENDING):
            self.hangup = True
        if events & HANGUP:
            events |= READABLE | WRITABLE
        if reactor.edge_triggered and not events & AGAIN:
            self.remember(events)
        try:
            # First, before anybody takes what they are told of.
            if self.poller is not None:
                self.tell_pollers(events, reactor.certain and not events & AGAIN)
            if events & READABLE:
                self.attempt(READABLE)
            if events & WRITABLE:
                self.attempt(WRITABLE)
        finally:
            # Also if a callback ends the program: the loop may be run again.
            self.settle()
        return 0

    cdef int settle(self) except -1:
        """After the attempts: watch for what is still wanted; try again what is still ready."""
        cdef Reactor reactor = self.reactor
        if reactor is None:
            return 0
        try:
            reactor.watch(self)
        except OSError as error:
            # The kernel will not watch it any more (out of memory, closed behind our back):
            # that is the operations' failure, not the loop's.
            self.fail_all(error.errno)
            return 0
        if reactor.edge_triggered and self.maybe_ready & self.wanted() and not self.queued:
            self.queued = True
            ready_push(reactor.ready, self, (self.maybe_ready & self.wanted()) | AGAIN, 0)
        return 0

    cdef int fail_all(self, int error) except -1:
        cdef Operation operation
        while True:
            operation = self.reader if self.reader is not None else self.writer
            if operation is None:
                operation = self.poller
            if operation is None:
                return 0
            self.take_out(operation)
            operation.queued = True
            ready_push(self.reactor.ready, operation, -error, 0)

    cdef int tell_pollers(self, int events, bint certain) except -1:
        """Complete the pollers that wait for *events*, unless those are no longer so."""
        cdef Operation operation = self.poller
        cdef Operation following
        cdef Counters *counters = &self.reactor.statistics.counters
        while operation is not None:
            following = operation.behind
            if operation.events & events:
                # A hang-up may be a descriptor that was closed behind our back: poll(2) tells.
                if certain and not events & HANGUP:
                    operation.result = operation.events & events
                elif operation.perform(counters) == OUTCOME_NOT_DONE:
                    self.maybe_ready &= ~operation.events
                    operation = following
                    continue
                counters.completions += 1
                if operation.goes_on():
                    operation.run(operation.result, MORE)
                else:
                    self.take_out(operation)
                    operation.run(operation.result, 0)
                if following is not None and following.state != STATE_IN_FLIGHT:
                    # The callback has cancelled it; who stands behind is told in the next turn.
                    return 0
            operation = following
        return 0

    cdef int attempt(self, int side) except -1:
        """Try what waits on *side* until it says "not now", or has had its share."""
        cdef Operation operation
        cdef Outcome outcome
        cdef bint more
        cdef int budget = ATTEMPTS_PER_TURN_MAX
        while self.reactor is not None:
            operation = self.reader if side == READABLE else self.writer
            if operation is None:
                return 0
            if operation.is_orphaned():
                self.take_out(operation)
                operation.run(operation.result, 0)
                continue
            outcome = operation.perform_now(&self.reactor.statistics.counters)
            if outcome == OUTCOME_NOT_DONE:
                self.drained(side)
                return 0
            self.reactor.statistics.counters.completions += 1
            if outcome == OUTCOME_DONE_AND_EXHAUSTED and not self.hangup:
                if side == READABLE and self.doubtful:
                    self.doubtful = False
                else:
                    self.drained(side)
            budget -= 1
            if not operation.goes_on():
                self.take_out(operation)
                operation.run(operation.result, operation.flags)
                # Not for ever: its owner may have started it again, and it may fail again.
                if outcome == OUTCOME_DONE_AND_EXHAUSTED or budget == 0:
                    return 0
                continue
            note_received(self.reactor, operation)
            more = operation.kind == KIND_ACCEPT or has_more(self.reactor, operation, outcome)
            operation.run(operation.result, operation.flags | MORE)
            if not more or budget == 0:
                return 0
        return 0

    cdef void drained(self, int side) noexcept:
        self.maybe_ready &= ~side
        if side == READABLE:
            self.doubtful = False


cdef class Reactor(Model):
    def __init__(self, Readiness readiness):
        self.readiness = readiness
        self.registrations = DescriptorTable()
        self.pool = BufferPool(BUFFER_COUNT, BUFFER_SIZE)
        self.edge_triggered = readiness.edge_triggered
        self.certain = readiness.certain
        self.tells_end = readiness.tells_end
        limit = readiness.capabilities.get("descriptor_max")
        self.descriptor_max = -1 if limit is None else limit

    @property
    def name(self):
        return self.readiness.name

    @property
    def signals_needed(self):
        return self.readiness.signals_needed

    @property
    def capabilities(self):
        return self.readiness.capabilities

    def connect(self, ready, statistics):
        Model.connect(self, ready, statistics)
        self.readiness.attach(ready, self.registrations, statistics)

    cpdef open(self):
        self.readiness.open()
        self.is_open = True

    cpdef bind(self):
        if self.generation != fork_generation():
            self.renew()
        self.readiness.bind()

    cpdef unbind(self):
        self.readiness.unbind()

    cdef int renew(self) except -1:
        # A forked child: what it changed in the shared epoll instance would change for the
        # parent, so it gets its own.
        self.generation = fork_generation()
        self.readiness.close()
        self.readiness.open()
        for registration in self.registrations:
            (<Registration>registration).watched = 0
            try:
                self.watch(<Registration>registration)
            except OSError as error:
                (<Registration>registration).fail_all(error.errno)
        return 0

    cpdef int submit(self, Operation operation) except -1:
        cdef Registration registration = self.registration_of(operation.fd)
        cdef int side = READABLE if operation.events & READABLE else WRITABLE
        cdef bint first, known_busy, was_watched
        cdef Outcome outcome
        self.renew_if_orphaned(registration)
        first = (registration.reader if side == READABLE else registration.writer) is None
        known_busy = (
            self.edge_triggered and registration.watched and not registration.maybe_ready & side
        )
        if operation.owned:
            registration.kept = True
        if operation.eager and first and not known_busy:
            outcome = operation.perform(&self.statistics.counters)
            if outcome != OUTCOME_NOT_DONE:
                if outcome == OUTCOME_DONE_AND_EXHAUSTED:
                    registration.maybe_ready &= ~side
                self.drop_if_idle(registration)
                return COMPLETED
            registration.maybe_ready &= ~side
        registration.insert(operation)
        was_watched = registration.watched
        try:
            if self.edge_triggered and operation.kind == KIND_POLL and operation.events & WRITABLE:
                self.readiness.expect_writable(operation.fd)
            self.watch(registration)
        except BaseException:
            registration.take_out(operation)
            self.drop_if_idle(registration)
            raise
        # What is ready when the kernel begins to watch is its first edge.
        if (
            self.edge_triggered and was_watched and registration.maybe_ready & operation.events
            and not registration.queued
        ):
            registration.queued = True
            ready_push(
                self.ready, registration, (registration.maybe_ready & operation.events) | AGAIN, 0
            )
        return PENDING

    cpdef int cancel(self, Operation operation) except -1:
        cdef void *entry = <void *>self.registrations.get(operation.fd)
        cdef Registration registration
        if entry != NULL:
            registration = <Registration>entry
            registration.take_out(operation)
            try:
                self.watch(registration)
            except OSError as error:
                registration.fail_all(error.errno)
        return CANCELLED

    cpdef wait(self, double timeout_s):
        self.refuse_in_child()
        self.readiness.wait(timeout_s)

    cpdef forget(self, int fd):
        cdef Registration registration = self.registrations.remove(fd)
        if registration is None:
            return
        registration.reactor = None
        self.stop_watching(registration)

    cpdef close(self):
        cdef Registration registration
        if not self.is_open:
            return
        self.is_open = False
        for entry in self.registrations:
            registration = <Registration>entry
            registration.reader = None
            registration.writer = None
            registration.poller = None
            registration.reactor = None
        self.registrations.clear()
        self.readiness.close()
        for operation in self.in_flight:
            (<Operation>operation).retire()

    cdef Registration registration_of(self, int fd):
        cdef Registration registration
        cdef void *entry = <void *>self.registrations.get(fd)
        if entry != NULL:
            return <Registration>entry
        if 0 <= self.descriptor_max < fd:
            raise OSError(
                EMFILE,
                f"{self.name} cannot watch descriptor {fd}: its limit is "
                f"{self.descriptor_max}; use poll, epoll or uring",
            )
        registration = Registration.__new__(Registration)
        registration.reactor = self
        registration.fd = fd
        # A socket can be written to until it says otherwise; reading starts with a report.
        registration.maybe_ready = WRITABLE
        if self.edge_triggered:
            registration.hangup = is_unix_socket(fd)
        self.registrations.set(fd, registration)
        return registration

    cdef int renew_if_orphaned(self, Registration registration) except -1:
        """Was the descriptor closed behind our back, and its number given out again?

        Then the kernel no longer watches it for us, and those who wait here wait for nothing.
        """
        if (
            any_orphaned(registration.reader) or any_orphaned(registration.writer)
            or any_orphaned(registration.poller)
        ):
            registration.fail_all(EBADF)
            return self.stop_watching(registration)
        return 0

    cdef int watch(self, Registration registration) except -1:
        """Tell the readiness model what is wanted of this descriptor now."""
        cdef int wanted = registration.wanted()
        if wanted == 0 and not (registration.kept and self.edge_triggered):
            return self.unwatch(registration)
        if self.edge_triggered:
            # One call in the descriptor's life: every edge is kept in maybe_ready.
            wanted = READABLE | WRITABLE
        if wanted == registration.watched or not self.is_open:
            return 0
        if self.generation != fork_generation():
            return 0  # the readiness model is still the parent's; bind() makes our own
        if registration.watched:
            self.readiness.modify(registration.fd, wanted)
        else:
            self.readiness.add(registration.fd, wanted)
        registration.watched = wanted
        return 0

    cdef int unwatch(self, Registration registration) except -1:
        """Nobody waits: say so, or a hang-up would be reported for ever; and drop it."""
        self.stop_watching(registration)
        return self.drop_if_idle(registration)

    cdef int stop_watching(self, Registration registration) except -1:
        if registration.watched:
            registration.watched = 0
            if self.generation == fork_generation():
                self.readiness.remove(registration.fd)
        return 0

    cdef int drop_if_idle(self, Registration registration) except -1:
        if registration.wanted() == 0 and not registration.watched and not registration.kept:
            if self.registrations.get(registration.fd) == <void *>registration:
                self.registrations.remove(registration.fd)
        return 0


cdef bint any_orphaned(Operation operation) noexcept:
    """Is one of *operation* and those behind it?  Asked for every send: no object is made."""
    while operation is not None:
        if operation.is_orphaned():
            return True
        operation = operation.behind
    return False


cdef bint is_unix_socket(int fd) noexcept:
    cdef int domain = 0
    cdef socket_h.socklen_t size = sizeof(domain)
    socket_h.getsockopt(fd, socket_h.SOL_SOCKET, socket_h.SO_DOMAIN, &domain, &size)
    return domain == socket_h.AF_UNIX
