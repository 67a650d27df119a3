"""Asynchronous I/O as POSIX has it: aio_read(3), aio_write(3), and a signal when they are done.

Facts.  The caller is blocked in neither phase, and the bytes are there when it is told.  But on
Linux no kernel does it: glibc has threads that call pread(2), and on a socket read(2).  It knows
no accept, connect or recvfrom.  Requests of one descriptor are done one after the other, a write
stands behind a read that waits.  A request that runs cannot be cancelled.

What the obvious does wrong.  (1) An echo server that reads and writes one descriptor stops for
ever: so we read a duplicate, which each connection has.  (2) A read that was cancelled and still
runs would take bytes that nobody gets: here the read lives on, and the next one for the same
descriptor takes over what it brings.  Only descriptors of transports are read so, where no one
else reads.  (3) The signal goes to any thread of the process that does not block it; so its
handler takes it, wherever it runs, and pushes the request to a stack of the loop's.  (4) The
signal's queue is finite (RLIMIT_SIGPENDING), and no signal comes where it is full: once a second
all requests are asked.  (5) glibc has 20 threads, and an idle connection holds one; what it has no
thread for stands behind reads that wait for ever: so it may start as many as we ever ask for, we
ask for as many as `blocking` may have, and beyond that its workers do the rest, as they do all
that AIO cannot.

A signal that finds the queue full is worse than lost: glibc writes EAGAIN over the result of what
it has done.  Such a connection ends with EIO, because a hole in its data is no answer.  A read or
write that says EAGAIN itself, for a time-out or because others have made the descriptor
non-blocking, has taken nothing, and the workers go on with it; that its signal came tells the two
apart.  (A connection that is lent is non-blocking from then on, and the workers' alone.)

Before its descriptor is closed, a read that still runs is ended with shutdown(2).  It is of the
duplicate, which is ours: the descriptor may have been closed behind our back, and its number be an
innocent's.  In a forked child glibc's threads are missing, and glibc does not know: there the
workers do everything.
"""

from libc.string cimport memcpy
from posix.stat cimport fstat, struct_stat

from headrace.core.operation cimport STATE_IN_FLIGHT, Operation, SendOperation
from headrace.core.ready_queue cimport BUFFER, BUFFER_SHIFT, MORE, ready_push
from headrace.core.statistics cimport (
    CALL_FCNTL, CALL_PREAD64, CALL_PWRITE64, CALL_READ, CALL_RT_SIGQUEUEINFO, CALL_WRITE,
    KIND_RECEIVE, KIND_SEND,
)
from headrace.kernel cimport aio as aio_h
from headrace.kernel cimport socket as socket_h
from headrace.kernel cimport unistd
from headrace.kernel.errno cimport EAGAIN, EBADF, ECANCELED, EINPROGRESS, EINTR, EIO
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.time cimport monotonic_seconds
from headrace.kernel.unistd cimport F_DUPFD_CLOEXEC, set_flags
from headrace.models.aio_requests cimport (
    READ_BYTES, Request, ask_for, begin, block_completions, count_made, give_inbox_back,
    give_request_back, is_room_for_one, is_told, new_inbox, new_request, prepare_process, push,
    take_done, unblock_completions, wait_for,
)
from headrace.models.blocking cimport Blocking
from headrace.models.contract cimport CANCELLED, PENDING
from headrace.models.thread_limit import signal_queue_length

# So often all requests are asked whether they are done: a signal may have been lost.
cdef double LOOK_S = 1.0
# At which of these looks something is done about a request: it had a second at least.
cdef int LOOKS = 2


cdef class Aio(Blocking):
    name = "aio"
    stevens = "asynchronous"
    waits = "glibc's threads, in read()"
    copies = "glibc's threads"
    system_calls = (
        "pread64", "read", "pwrite64", "write", "rt_sigqueueinfo", *Blocking.system_calls,
    )

    def __init__(self, thread_limit=None):
        Blocking.__init__(self, thread_limit)
        self.reads = {}
        self.writes = {}
        self.doubles = {}
        self.reads_again = []
        self.starving = []

    @property
    def requests(self):
        """How many aio_read and aio_write are under way, or have a result that waits."""
        return self.request_count

    @staticmethod
    def requests_made():
        """How much memory for requests this process has, in requests: it is taken again."""
        return count_made()

    cpdef open(self):
        self.is_usable = prepare_process()
        # Each may have a signal in the queue, which other processes of the user fill as well.
        self.request_limit = min(self.thread_limit, signal_queue_length() // 2)
        Blocking.open(self)
        self.has_new_inbox()

    cdef int has_new_inbox(self) except -1:
        self.inbox = new_inbox(self.shared)
        self.shared.also = &self.inbox.done
        return 0

    cpdef bind(self):
        if self.generation != fork_generation():
            self.leave_requests_to_parent()
        self.was_blocked = unblock_completions()
        Blocking.bind(self)

    cpdef unbind(self):
        if self.was_blocked:
            block_completions()
            self.was_blocked = False

    cdef int leave_requests_to_parent(self) except -1:
        """They are its threads', with the memory that they write to, and what they have read."""
        self.is_usable = False
        self.reads.clear()
        self.writes.clear()
        self.reads_again.clear()
        self.starving.clear()
        self.request_count = 0
        self.has_new_inbox()
        return 0

    cdef bint is_for_aio(self, Operation operation) noexcept:
        return (
            self.is_usable and operation.owned and not operation.composed
            and (operation.kind == KIND_RECEIVE or operation.kind == KIND_SEND)
            and operation.fd not in self.lent
            and self.request_count < self.request_limit and is_room_for_one()
            and self.generation == fork_generation()
        )

    cpdef int submit(self, Operation operation) except -1:
        if operation.kind == KIND_RECEIVE and operation.fd in self.doubles:
            # Its reader starts, for the first time or after a pause: does it start with our file?
            if not is_same_file(operation.fd, self.doubles[operation.fd]):
                self.leave_old_file(operation.fd)
        if operation.kind == KIND_RECEIVE and operation.fd in self.reads:
            self.adopt(operation)
            return PENDING
        return self.begin_one(operation)

    cdef int begin_one(self, Operation operation) except -1:
        if not self.is_for_aio(operation):
            return self.by_worker(operation)
        if operation.kind == KIND_RECEIVE:
            return self.begin_read(operation)
        return self.begin_write(operation)

    cdef int by_worker(self, Operation operation) except -1:
        return Blocking.submit(self, operation)

    cpdef int cancel(self, Operation operation) except -1:
        cdef Request *request
        if self.generation != fork_generation():
            return CANCELLED
        if operation in self.reads_again:
            self.reads_again.remove(operation)
            return self.cancelled(operation)
        if operation in self.writes:
            # Only the end of a connection cancels its write: shutdown(2) frees the thread.
            socket_h.shutdown(self.doubles[operation.fd], socket_h.SHUT_WR)
            return PENDING
        address = self.reads.get(operation.fd)
        if address is not None:
            request = <Request *><size_t>address
            if request.operation == <void *>operation:
                # It reads on, for who comes next.
                request.operation = NULL
                return self.cancelled(operation)
        return Blocking.cancel(self, operation)

    cpdef wait(self, double timeout_s):
        if self.reads_again:
            self.read_again()
        if self.starving:
            self.feed_starving()
        if self.request_count:
            if monotonic_seconds() - self.looked_at_s >= LOOK_S:
                self.look_at_all()
            if timeout_s < 0 or timeout_s > LOOK_S:
                timeout_s = LOOK_S
        Blocking.wait(self, timeout_s)

    cdef int take_all(self) except -1:
        if self.inbox != NULL:
            self.take_all_done()
        return Blocking.take_all(self)

    cdef list sends(self):
        return [*self.writes, *Blocking.sends(self)]

    cpdef forget(self, int fd):
        if fd in self.reads and self.generation == fork_generation():
            if (<Request *><size_t>self.reads[fd]).operation != NULL:
                return  # its owner's read has ended before: this is who has the number now
            self.end_read_of(fd)
        if fd in self.doubles:
            if not is_same_file(fd, self.doubles[fd]):
                self.made_blocking.discard(fd)  # nor is the flag of another's file ours
            unistd.close(self.doubles.pop(fd))
        Blocking.forget(self, fd)

    cpdef close(self):
        if not self.is_open:
            return
        if self.generation == fork_generation():
            self.end_all()
            self.shared.also = NULL
            if self.inbox != NULL:
                give_inbox_back(self.inbox)
                self.inbox = NULL
        for double in self.doubles.values():
            unistd.close(double)
        self.doubles.clear()
        Blocking.close(self)

    cdef int end_all(self) except -1:
        """No request may be left: what it reads for nobody would be lost, and it holds a thread."""
        cdef Request *request
        for fd in list(self.reads):
            self.end_read_of(fd)
        for address in list(self.writes.values()):
            request = <Request *><size_t>address
            aio_h.aio_cancel(request.fd, &request.block)
            socket_h.shutdown(self.doubles[request.connection], socket_h.SHUT_RDWR)
            wait_for(request)
            give_request_back(request)
        self.writes.clear()
        self.request_count = 0
        return 0

    # Beginning.

    cdef int begin_read(self, Operation operation) except -1:
        cdef Request *request
        if not self.has_double(operation.fd):
            return self.by_worker(operation)
        self.make_blocking(operation.fd)
        request = new_request(self.inbox)
        begin(request, <void *>operation, operation.fd, self.doubles[operation.fd], True)
        request.memory = request.read_memory
        if ask_for(request, READ_BYTES) < 0:
            give_request_back(request)
            return self.by_worker(operation)
        self.request_count += 1
        self.reads[operation.fd] = <size_t>request
        return PENDING

    cdef int begin_write(self, Operation operation) except -1:
        cdef Request *request
        if not self.has_double(operation.fd):
            return self.by_worker(operation)
        self.make_blocking(operation.fd)
        request = new_request(self.inbox)
        begin(request, <void *>operation, operation.fd, operation.fd, False)
        # BORROWS: the operation keeps its source, and the in-flight list the operation.
        request.memory = <char *>(<SendOperation>operation).memory
        if ask_for(request, (<SendOperation>operation).length) < 0:
            give_request_back(request)
            return self.by_worker(operation)
        self.request_count += 1
        self.writes[operation] = <size_t>request
        return PENDING

    cdef bint has_double(self, int fd) except -1:
        """False where there is no descriptor left for one."""
        if fd in self.doubles:
            return True
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        double = set_flags(fd, F_DUPFD_CLOEXEC, 0)
        if double < 0:
            return False
        self.doubles[fd] = double
        return True

    cdef int adopt(self, Operation operation) except -1:
        """A read for the descriptor is under way, or has bytes already: they are *operation*'s."""
        cdef Request *request = <Request *><size_t>self.reads[operation.fd]
        request.operation = <void *>operation
        if not request.is_running:
            # Its end was taken while nobody waited: take it again.
            push(self.inbox, request)
        return 0

    # Ending.

    cdef int take_all_done(self) except -1:
        cdef Request *request = take_done(self.inbox)
        cdef Request *following
        while request != NULL:
            following = <Request *>request.next_done
            # Before looking: a signal that comes while we look pushes it again.
            aio_h.headrace_store(&request.is_pushed, 0)
            self.take_request(request)
            request = following
        return 0

    cdef int look_at_all(self) except -1:
        """Once in a while: is one done whose signal was lost?  Does one stand in glibc's queue?"""
        cdef Request *request
        cdef int error
        self.looked_at_s = monotonic_seconds()
        for address in [*self.reads.values(), *self.writes.values()]:
            request = <Request *><size_t>address
            if not request.is_running:
                continue
            error = aio_h.aio_error(&request.block)
            if error != EINPROGRESS:
                request.doubts += error == EAGAIN
                self.take_request(request)
            elif request.looks < LOOKS:
                # For the second time: it had time to find a thread.  What has one cannot be
                # cancelled; what has none, because glibc could not start one, would wait until
                # a read of another connection is done.
                request.looks += 1
                if request.looks == LOOKS and aio_h.aio_cancel(
                    request.fd, &request.block
                ) == aio_h.AIO_CANCELED:
                    self.hand_to_worker(request)
        return 0

    cdef int hand_to_worker(self, Request *request) except -1:
        """glibc has given it back undone."""
        operation = <Operation>request.operation if request.operation != NULL else None
        if request.is_read:
            del self.reads[request.connection]
        else:
            del self.writes[operation]
        self.request_count -= 1
        give_request_back(request)
        # There are no more threads to be had: the next one would wait as long.
        self.request_limit = max(self.request_count, 1)
        if operation is not None:
            self.by_worker(operation)
        return 0

    cdef int take_request(self, Request *request) except -1:
        cdef int result
        if request.is_running:
            result = aio_h.aio_error(&request.block)
            if result == EINPROGRESS:
                return 0  # a late signal: its end was taken without it, and it has begun anew
            if result == EAGAIN and not is_told(request) and request.doubts < LOOKS:
                return 0  # its own signal may be on its way
            request.is_running = False
            self.count_calls(request)
        if request.operation == NULL:
            return 0  # a read that nobody waits for: adopt() will take it; or a late signal
        result = <int>-aio_h.aio_error(&request.block)
        if result == 0:
            result = <int>aio_h.aio_return(&request.block)
        operation = <Operation>request.operation
        if result == -EAGAIN and not is_told(request):
            # Not the socket's: the signal found its queue full, and glibc has put that error in
            # the place of the result.  What was read or written, nobody knows any more.
            self.statistics.counters.completion_overflows += 1
            result = -EIO
        if request.is_read:
            return self.take_read(request, operation, result)
        del self.writes[operation]
        self.request_count -= 1
        give_request_back(request)
        if result == -EAGAIN or result == -EINTR:
            self.by_worker(operation)
            return 0
        return self.end(operation, result)

    cdef void count_calls(self, Request *request) noexcept:
        """Of glibc's thread: it tries the call for files first, which a socket refuses."""
        cdef int for_files = CALL_PREAD64 if request.is_read else CALL_PWRITE64
        cdef int for_sockets = CALL_READ if request.is_read else CALL_WRITE
        for call in (for_files, for_sockets, CALL_RT_SIGQUEUEINFO):
            self.statistics.counters.system_calls[<int>call] += 1

    cdef int take_read(self, Request *request, Operation operation, int result) except -1:
        cdef int number
        if result > 0:
            number = self.pool.acquire()
            if number < 0:
                self.statistics.counters.buffer_starvation += 1
                if <size_t>request not in self.starving:
                    self.starving.append(<size_t>request)
                return 0
            memcpy(self.pool.address(number), request.memory, result)
            self.statistics.counters.completions += 1
            ready_push(
                self.ready, operation, result,
                MORE | BUFFER | (<unsigned int>number << BUFFER_SHIFT),
            )
            self.reads_again.append(operation)
        del self.reads[operation.fd]
        self.request_count -= 1
        give_request_back(request)
        if result > 0:
            return 0
        if result == -EAGAIN or result == -EINTR:
            self.by_worker(operation)
            return 0
        return self.end(operation, result)

    cdef int read_again(self) except -1:
        cdef list operations = self.reads_again
        self.reads_again = []
        for operation in operations:
            if (<Operation>operation).state == STATE_IN_FLIGHT:
                self.begin_one(operation)
            else:
                self.end(operation, -ECANCELED)
        return 0

    cdef int feed_starving(self) except -1:
        cdef list addresses = self.starving
        self.starving = []
        for address in addresses:
            if (<Request *><size_t>address).operation != NULL:
                self.take_request(<Request *><size_t>address)
        return 0

    cdef int end_read_of(self, int fd) except -1:
        """The descriptor is about to be closed: nobody may read it any more."""
        cdef Request *request = <Request *><size_t>self.reads.pop(fd)
        self.request_count -= 1
        if <size_t>request in self.starving:
            self.starving.remove(<size_t>request)
        if request.is_running and aio_h.aio_error(&request.block) == EINPROGRESS:
            if aio_h.aio_cancel(request.fd, &request.block) == aio_h.AIO_NOTCANCELED:
                socket_h.shutdown(request.fd, socket_h.SHUT_RD)
            wait_for(request)
        give_request_back(request)
        return 0

    cdef int leave_old_file(self, int fd) except -1:
        """Closed behind our back, and its number given to another connection of this loop."""
        cdef Request *request
        operation = None
        if fd in self.reads:
            request = <Request *><size_t>self.reads[fd]
            if request.operation != NULL:
                operation = <Operation>request.operation
            self.end_read_of(fd)
        unistd.close(self.doubles.pop(fd))
        self.made_blocking.discard(fd)
        self.lent.discard(fd)
        return self.end(operation, -EBADF) if operation is not None else 0


cdef bint is_same_file(int fd, int other) noexcept:
    cdef struct_stat one, two
    if fstat(fd, &one) < 0 or fstat(other, &two) < 0:
        return False
    return one.st_dev == two.st_dev and one.st_ino == two.st_ino
