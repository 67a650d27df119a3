"""An operation: one thing asked of the kernel, as data, and how to try it without waiting.

Every model takes the same operations.  A readiness model waits until the descriptor is ready
and calls perform(); a completion model reads the fields and hands them to the kernel.  Either
way the end is one call of completed(), or, for a multishot operation, one call per piece.

An operation in flight is owned by its model (the in-flight list holds a reference), and so is
its memory: neither goes away before the terminal completion, the one without MORE.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from headrace.kernel.errno cimport (
    EAGAIN, EALREADY, EBADF, ECONNABORTED, EINPROGRESS, EINTR, EISCONN, ENOMEM, EPROTO, errno,
)

from headrace.core.collector cimport traverse_also, traverseproc, visitproc
from headrace.core.ready_queue cimport BUFFER, BUFFER_SHIFT, DIRECT, IN_PLACE, MORE
from headrace.core.statistics cimport (
    CALL_ACCEPT4, CALL_CONNECT, CALL_GETSOCKOPT, CALL_POLL, CALL_READ, CALL_RECV, CALL_SEND,
    CALL_SENDFILE, CALL_WRITE, KIND_ACCEPT, KIND_CONNECT, KIND_POLL, KIND_READ, KIND_RECEIVE,
    KIND_RECEIVE_INTO, KIND_SEND, KIND_SENDFILE, KIND_WRITE,
)
from headrace.core.statistics import KIND_NAMES
from headrace.kernel cimport poll as poll_h
from headrace.kernel cimport socket as socket_h
from headrace.kernel.address cimport address_as_python, address_fill
from headrace.kernel.unistd cimport close, read, write

NOT_DONE = OUTCOME_NOT_DONE
DONE = OUTCOME_DONE
DONE_AND_EXHAUSTED = OUTCOME_DONE_AND_EXHAUSTED
WAITS_READABLE = READABLE
WAITS_WRITABLE = WRITABLE
# From here on to copy a piece costs more than to find a place for the next one.
cdef ssize_t LARGE_BYTES = 16 * 1024
STATE_NAMES = ("idle", "in flight", "cancelling")


cdef class Operation(Runnable):
    def __cinit__(self):
        self.fd = -1
        self.state = STATE_IDLE
        self.previous = NULL
        self.following = NULL

    @property
    def kind_name(self):
        return KIND_NAMES[self.kind]

    @property
    def wants_read(self):
        return bool(self.events & READABLE)

    @property
    def wants_write(self):
        return bool(self.events & WRITABLE)

    def __repr__(self):
        shots = " multishot" if self.multishot else ""
        return f"<{type(self).__name__} fd={self.fd}{shots} {STATE_NAMES[self.state]}>"

    cdef Outcome perform(self, Counters *counters) noexcept:
        """Try it now, without waiting; leave result and flags behind unless NOT_DONE."""
        self.result = 0
        self.flags = 0
        return OUTCOME_DONE

    cdef Outcome perform_now(self, Counters *counters) noexcept:
        """perform(), by a model that calls run() at once where this has something to say."""
        return self.perform(counters)

    cdef Outcome transferred(self, ssize_t size, size_t wanted) noexcept:
        """What a receive or send of *wanted* bytes means that has returned *size*."""
        self.flags = 0
        if size < 0:
            if is_temporary(errno):
                return OUTCOME_NOT_DONE
            self.result = -errno
            return OUTCOME_DONE
        self.result = <int>size
        return OUTCOME_DONE_AND_EXHAUSTED if 0 < <size_t>size < wanted else OUTCOME_DONE

    cdef bint is_orphaned(self) noexcept:
        """Has the owner closed the socket?  Then the number may be another connection's."""
        if self.sock is None:
            return False
        try:
            if self.sock.fileno() == self.fd:
                return False
        except Exception:
            pass
        self.result = -EBADF
        self.flags = 0
        return True

    cdef bint is_over(self) noexcept:
        """Has the model let go of the descriptor and of the memory?  The owner may not know yet."""
        return self.state == STATE_IDLE or self.queued

    cdef bint goes_on(self) noexcept:
        """After a DONE perform(): will a multishot operation have more to say?"""
        return self.multishot and self.result >= 0

    cdef int run(self, int result, unsigned int flags) except -1:
        """The loop's turn: the entry that a model put into the ready queue has come up."""
        if not flags & MORE:
            self.retire()
        return self.completed(result, flags)

    cdef void retire(self) noexcept:
        """The terminal completion is here: the model is done with this operation."""
        self.state = STATE_IDLE
        self.queued = False
        if self.in_flight is not None:
            self.in_flight.discard(self)

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        """The loop was closed with this completion unread: nobody else will."""
        if not flags & MORE:
            self.retire()

    cdef int completed(self, int result, unsigned int flags) except -1:
        """What the owner does with a completion; the default calls on_complete."""
        if self.on_complete is not None:
            self.on_complete(self, result, bool(flags & MORE))
        return 0


cdef class InFlight:
    """The operations that a model has not finished, in a doubly linked list through them."""

    def __cinit__(self):
        self.first = NULL
        self.count = 0

    def __len__(self):
        return self.count

    def __iter__(self):
        cdef PyObject *entry = self.first
        operations = []
        while entry != NULL:
            operations.append(<Operation>entry)
            entry = (<Operation>entry).following
        return iter(operations)

    cdef void add(self, Operation operation) noexcept:
        Py_INCREF(operation)
        operation.in_flight = self
        operation.previous = NULL
        operation.following = self.first
        if self.first != NULL:
            (<Operation>self.first).previous = <PyObject *>operation
        self.first = <PyObject *>operation
        self.count += 1

    cdef void discard(self, Operation operation) noexcept:
        if operation.previous != NULL:
            (<Operation>operation.previous).following = operation.following
        elif self.first == <PyObject *>operation:
            self.first = operation.following
        else:
            return
        if operation.following != NULL:
            (<Operation>operation.following).previous = operation.previous
        operation.previous = NULL
        operation.following = NULL
        operation.in_flight = None
        self.count -= 1
        Py_DECREF(operation)


cdef int traverse(InFlight operations, visitproc visit, void *argument) noexcept:
    """See core/collector.pxd.

    Memory that the kernel may still write to is safe from the collector: Model's finalizer closes
    the model, and all finalizers run before anything is cleared.
    """
    cdef int answer
    cdef PyObject *entry = operations.first
    while entry != NULL:
        answer = visit(entry, argument)
        if answer:
            return answer
        entry = (<Operation>entry).following
    return traverse_members(<PyObject *>operations, visit, argument)


cdef traverseproc traverse_members = traverse_also(InFlight, <traverseproc>traverse)


cdef inline bint is_temporary(int error) noexcept:
    """Says the kernel "not now", rather than "no"?"""
    return error == EAGAIN or error == EINTR


cdef class AcceptOperation(Operation):
    """Multishot accept: result is a new descriptor, non-blocking and close-on-exec."""

    def __init__(self, int fd, bint multishot=True, on_complete=None):
        self.fd = fd
        self.kind = KIND_ACCEPT
        self.events = READABLE
        self.multishot = multishot
        # A single accept may be cancelled by its caller; a connection that a ring had already
        # taken would be lost, so it waits and then takes.
        self.composed = not multishot
        self.on_complete = on_complete

    @property
    def peer(self):
        """After a single accept: the peer's address, in the socket module's form."""
        return address_as_python(<socket_h.sockaddr *>&self.address, self.address_length)

    cdef Outcome perform(self, Counters *counters) noexcept:
        counters.system_calls[CALL_ACCEPT4] += 1
        self.flags = 0
        self.address_length = sizeof(self.address)
        self.result = socket_h.accept4(
            self.fd, <socket_h.sockaddr *>&self.address, &self.address_length,
            socket_h.SOCK_NONBLOCK | socket_h.SOCK_CLOEXEC,
        )
        if self.result >= 0:
            return OUTCOME_DONE
        # accept(2): these are a connection that went away while it waited; there is no error
        # of ours to report, and the next one may be fine.
        if is_temporary(errno) or errno == ECONNABORTED or errno == EPROTO:
            return OUTCOME_NOT_DONE
        self.result = -errno
        return OUTCOME_DONE

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        if result >= 0:
            close(result)
        Operation.dropped(self, result, flags)


cdef class ReceiveOperation(Operation):
    """Multishot receive into pooled buffers; ends with result 0 (end of stream) or an error.

    With *scratch* it is of a pipe: read(2) into a buffer of that pool.  It is composed, because a
    ring would end a read of a non-blocking pipe with EAGAIN instead of waiting.
    """

    def __init__(self, int fd, on_complete=None, *, BufferPool scratch=None):
        self.fd = fd
        self.kind = KIND_RECEIVE
        self.events = READABLE
        self.multishot = True
        self.on_complete = on_complete
        if scratch is not None:
            self.kind = KIND_READ
            self.composed = True
            self.pool = scratch

    cdef bint goes_on(self) noexcept:
        return self.result > 0

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        cdef BufferPool pool = self.pool if self.direct is None else self.direct
        cdef int number = pool.acquire()
        if number < 0:
            counters.buffer_starvation += 1
            return OUTCOME_NOT_DONE
        if self.kind == KIND_READ:
            counters.system_calls[CALL_READ] += 1
            size = read(self.fd, pool.address(number), pool.size)
        else:
            counters.system_calls[CALL_RECV] += 1
            size = socket_h.recv(
                self.fd, pool.address(number), pool.size, socket_h.MSG_DONTWAIT
            )
        if size > 0:
            self.result = <int>size
            self.was_large = size >= LARGE_BYTES
            self.flags = BUFFER | (<unsigned int>number << BUFFER_SHIFT)
            if self.direct is not None:
                self.flags |= DIRECT
            # A terminal gives one line at a time, a pipe in packet mode one packet.
            if <size_t>size < pool.size and self.kind != KIND_READ:
                return OUTCOME_DONE_AND_EXHAUSTED
            return OUTCOME_DONE
        pool.release(number)
        self.flags = 0
        if size < 0 and is_temporary(errno):
            return OUTCOME_NOT_DONE
        self.result = 0 if size == 0 else -errno
        return OUTCOME_DONE

    cdef Outcome perform_now(self, Counters *counters) noexcept:
        """After a large piece, the next one is received where its owner will have it."""
        cdef size_t room = 0
        cdef char *memory = NULL
        cdef ssize_t size
        cdef Outcome outcome
        if self.was_large and self.kind == KIND_RECEIVE:
            memory = self.place(&room)
        if memory == NULL:
            return ReceiveOperation.perform(self, counters)
        counters.system_calls[CALL_RECV] += 1
        size = socket_h.recv(self.fd, memory, room, socket_h.MSG_DONTWAIT)
        outcome = self.transferred(size, room)
        if size > 0:
            self.flags = IN_PLACE
            self.was_large = size >= LARGE_BYTES
        else:
            self.leave_place()
        return outcome

    cdef char *place(self, size_t *room) noexcept:
        """Where a large piece is to go, and how much fits; NULL: into a buffer of the pool.

        The owner's memory until received_in_place() or leave_place(), before anything else runs.
        """
        return NULL

    cdef void leave_place(self) noexcept:
        """Nothing has come."""

    cdef int received_in_place(self, int size) except -1:
        """*size* bytes have come into the place."""
        return 0

    cdef int run(self, int result, unsigned int flags) except -1:
        cdef int number
        # One of before may come up after the model has changed its way.
        cdef BufferPool pool = self.direct if flags & DIRECT else self.pool
        if not flags & BUFFER:
            if not flags & MORE:
                self.retire()
            if flags & IN_PLACE:
                return self.received_in_place(result)
            return self.received(NULL, result)
        number = flags >> BUFFER_SHIFT
        try:
            if not flags & MORE:
                self.retire()
            return self.received(pool.address(number), result)
        finally:
            pool.release(number)

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        cdef BufferPool pool = self.direct if flags & DIRECT else self.pool
        if flags & BUFFER and pool is not None:  # else the garbage collector has been here
            pool.release(flags >> BUFFER_SHIFT)
        Operation.dropped(self, result, flags)

    cdef int received(self, const char *data, int result) except -1:
        """*result* bytes at *data*, the owner's until it returns; or data NULL: the end."""
        if self.on_complete is not None:
            chunk = PyBytes_FromStringAndSize(data, result) if data != NULL else b""
            self.on_complete(self, result, chunk)
        return 0


cdef class ReceiveIntoOperation(Operation):
    """One receive into the caller's writable buffer; result is the count of bytes, 0 the end."""

    def __init__(self, int fd, target, on_complete=None):
        cdef unsigned char[::1] view
        self.fd = fd
        self.kind = KIND_RECEIVE_INTO
        self.events = READABLE
        self.composed = True
        self.on_complete = on_complete
        if memoryview(target).readonly:
            raise TypeError(f"not a writable bytes-like object: {type(target).__name__!r}")
        view = memoryview(target).cast("B")
        self.target = view
        self.memory = <char *>&view[0] if view.shape[0] else NULL
        self.length = view.shape[0]

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        counters.system_calls[CALL_RECV] += 1
        size = socket_h.recv(self.fd, self.memory, self.length, socket_h.MSG_DONTWAIT)
        return self.transferred(size, self.length)


cdef class ReceiveBytesOperation(Operation):
    """One receive of at most *length* bytes, left in `data`; result is their count.

    Through a buffer of the loop's: a caller that waits for a long time holds no memory.
    """

    def __init__(self, int fd, BufferPool scratch, size_t length, on_complete=None):
        self.set_up(fd, scratch, length)
        self.on_complete = on_complete

    cdef void set_up(self, int fd, BufferPool scratch, size_t length) noexcept:
        self.fd = fd
        self.kind = KIND_RECEIVE_INTO
        self.events = READABLE
        self.composed = True
        self.scratch = scratch
        self.length = min(length, scratch.size)
        self.data = b""

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        cdef Outcome outcome
        cdef int number = self.scratch.acquire()
        cdef char *memory
        if number < 0:
            # A pipe's protocol is being told what stands there; it may well receive, too.
            return OUTCOME_NOT_DONE
        memory = self.scratch.address(number)
        counters.system_calls[CALL_RECV] += 1
        size = socket_h.recv(self.fd, memory, self.length, socket_h.MSG_DONTWAIT)
        outcome = self.transferred(size, self.length)
        if size > 0:
            self.take(memory, size)
        self.scratch.release(number)
        return outcome

    cdef void take(self, const char *memory, Py_ssize_t size) noexcept:
        try:
            self.data = PyBytes_FromStringAndSize(memory, size)
        except MemoryError:
            self.result = -ENOMEM


cdef class SendOperation(Operation):
    """One send; result is how many bytes the kernel took, which may be fewer than given.

    With *pipe* it is a write(2), and composed for the reason that a read is.
    """

    def __init__(
        self, int fd, source=None, on_complete=None, *, bint composed=False, bint pipe=False,
    ):
        cdef const unsigned char[::1] view
        self.set_up(fd, composed or pipe)
        if pipe:
            self.kind = KIND_WRITE
        self.on_complete = on_complete
        if type(source) is bytes:
            self.load(source)
        elif source is not None:
            view = memoryview(source).cast("B")
            self.source = view
            self.memory = <const char *>&view[0] if view.shape[0] else NULL
            self.length = view.shape[0]

    cdef void set_up(self, int fd, bint composed) noexcept:
        self.fd = fd
        self.kind = KIND_SEND
        self.events = WRITABLE
        self.eager = True
        self.composed = composed

    cdef void load(self, bytes data) noexcept:
        self.source = data
        self.memory = PyBytes_AS_STRING(data)
        self.length = PyBytes_GET_SIZE(data)

    cdef int send_behind(self) except -1:
        """The loop stops before this send's end has come up: what stands behind it goes out."""
        return 0

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        if self.kind == KIND_WRITE:
            counters.system_calls[CALL_WRITE] += 1
            size = write(self.fd, self.memory, self.length)
            # A signal makes a write to a terminal short that has room: that is no end of it.
            return self.transferred(size, 0)
        counters.system_calls[CALL_SEND] += 1
        size = socket_h.send(
            self.fd, self.memory, self.length, socket_h.MSG_DONTWAIT | socket_h.MSG_NOSIGNAL
        )
        return self.transferred(size, self.length)


cdef class ConnectOperation(Operation):
    """One connect; result is 0."""

    def __init__(self, int fd, int family, address, on_complete=None):
        self.fd = fd
        self.kind = KIND_CONNECT
        self.events = WRITABLE
        self.eager = True
        # The first attempt has started it; a ring that connected once more would be told EALREADY.
        self.composed = True
        self.started = False
        self.on_complete = on_complete
        self.address_length = address_fill(family, address, &self.address)
        if self.address_length == 0:
            raise ValueError(f"cannot connect a socket of family {family} through a model")

    cdef Outcome perform(self, Counters *counters) noexcept:
        self.flags = 0
        if not self.started:
            counters.system_calls[CALL_CONNECT] += 1
            if socket_h.connect(
                self.fd, <socket_h.sockaddr *>&self.address, self.address_length
            ) == 0:
                self.result = 0
                return OUTCOME_DONE
            # connect(2): after EINTR the connection goes on being made, as after EINPROGRESS.
            if errno == EINPROGRESS or errno == EINTR or errno == EALREADY:
                self.started = True
                return OUTCOME_NOT_DONE
            self.result = 0 if errno == EISCONN else -errno
            return OUTCOME_DONE
        return self.finish(counters)

    cdef Outcome finish(self, Counters *counters) noexcept:
        """connect(2): writable means decided, and SO_ERROR says how."""
        cdef int error = 0
        cdef socket_h.socklen_t size = sizeof(error)
        cdef poll_h.pollfd entry
        entry.fd = self.fd
        entry.events = <short>poll_h.POLLOUT
        counters.system_calls[CALL_POLL] += 1
        if poll_h.poll(&entry, 1, 0) == 0:
            return OUTCOME_NOT_DONE
        counters.system_calls[CALL_GETSOCKOPT] += 1
        if socket_h.getsockopt(
            self.fd, socket_h.SOL_SOCKET, socket_h.SO_ERROR, &error, &size
        ) < 0:
            error = errno
        self.result = -error
        return OUTCOME_DONE


cdef class PollOperation(Operation):
    """Wait until ready; result is what it is ready for.  Multishot is level-triggered."""

    def __init__(self, int fd, int events, bint multishot=False, on_complete=None):
        if events & ~(READABLE | WRITABLE) or not events:
            raise ValueError(f"events must be WAITS_READABLE, WAITS_WRITABLE or both: {events}")
        self.set_up(fd, events)
        self.multishot = multishot
        self.on_complete = on_complete

    cdef void set_up(self, int fd, int events) noexcept:
        self.fd = fd
        self.kind = KIND_POLL
        self.events = events

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef poll_h.pollfd entry
        entry.fd = self.fd
        entry.events = <short>(
            (poll_h.POLLIN if self.events & READABLE else 0)
            | (poll_h.POLLOUT if self.events & WRITABLE else 0)
        )
        counters.system_calls[CALL_POLL] += 1
        if poll_h.poll(&entry, 1, 0) <= 0:
            return OUTCOME_NOT_DONE
        self.flags = 0
        if entry.revents & poll_h.POLLNVAL:
            # Not open: it would be reported for ever, and no read or write by number helps.
            self.result = -EBADF
            return OUTCOME_DONE
        # Hang-up and errors wake both sides, as in asyncio: the next read or write reports them.
        if entry.revents & ~(poll_h.POLLIN | poll_h.POLLOUT):
            self.result = self.events
        else:
            self.result = (
                (READABLE if entry.revents & poll_h.POLLIN else 0)
                | (WRITABLE if entry.revents & poll_h.POLLOUT else 0)
            )
        return OUTCOME_DONE


cdef class SendfileOperation(Operation):
    """One sendfile(2) from a regular file; result is the count of bytes, 0 at the file's end."""

    def __init__(self, int fd, int file_fd, long offset, size_t length, on_complete=None):
        self.fd = fd
        self.kind = KIND_SENDFILE
        self.events = WRITABLE
        self.eager = True
        self.composed = True
        self.file_fd = file_fd
        self.offset = offset
        self.length = length
        self.on_complete = on_complete

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef long offset = self.offset
        cdef ssize_t size
        counters.system_calls[CALL_SENDFILE] += 1
        size = socket_h.sendfile(self.fd, self.file_fd, &offset, self.length)
        return self.transferred(size, self.length)
