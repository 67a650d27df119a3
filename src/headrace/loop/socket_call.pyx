"""The sock_* methods that are called for every piece of data, as native awaitables.

A coroutine would be made for each call, and another with a future and an operation for each wait.
Here a call is one object, which tries, waits for readiness if it must, and takes in a step of the
caller's task (see loop/sockets.pyx for why there).

Trying first costs a system call in vain where a request is yet to come, waiting first a turn where
data are there.  So each descriptor remembers: after two vain attempts it is waited for first, and
tried again now and then.
"""

import socket

from cpython.object cimport PyObject
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, STATE_IDLE, Operation, Outcome, PollOperation,
    ReceiveBytesOperation, ReceiveIntoOperation, SendOperation,
)
from headrace.core.recycler cimport (
    PyTypeObject, Recycler, recycle, recycler_allocate, recycler_free,
)
from headrace.kernel.errors cimport os_error
from headrace.loop.awaitable cimport Awaitable
from headrace.loop.waiter cimport Waiter, make_waiter
from headrace.loop.watchers cimport Watchers
from headrace.models.contract cimport COMPLETED

# The most that one sock_recv() brings, as much as one receive of a transport.
cdef size_t SCRATCH_BYTES = 256 * 1024
# After so many attempts in vain a descriptor is waited for first, and tried first every so often.
cdef enum:
    VAIN_MAX = 2
    TRIED_EVERY = 16


cdef class SocketLoop(Watchers):
    """What the loop keeps for sockets that stay the caller's."""

    def __cinit__(self, *arguments, **keywords):
        self.scratch = BufferPool(1, SCRATCH_BYTES)
        self.receiver = ReceiveBytesOperation.__new__(ReceiveBytesOperation)
        self.sender = SendOperation.__new__(SendOperation)

    def __dealloc__(self):
        free(self.vain)

    cdef int check_socket(self, object sock) except? -2:
        """The descriptor of *sock*: its owner's, non-blocking, and no transport's."""
        cdef int fd = sock.fileno()
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        self.check_no_transport(fd)
        return fd

    cdef bint is_to_wait_first(self, int fd) noexcept:
        if fd < 0 or fd >= self.vain_size or self.vain[fd] < VAIN_MAX:
            return False
        self.vain[fd] += 1
        return self.vain[fd] % TRIED_EVERY != 0

    cdef int note_attempt(self, int fd, bint done) except -1:
        cdef int size = fd + 1
        cdef unsigned char *grown
        if fd < 0:
            return 0  # of a socket that is closed
        if fd < self.vain_size:
            self.vain[fd] = 0 if done else self.vain[fd] + 1
        elif not done:
            grown = <unsigned char *>realloc(self.vain, size)
            if grown == NULL:
                raise MemoryError()
            memset(grown + self.vain_size, 0, size - self.vain_size)
            grown[fd] = 1
            self.vain = grown
            self.vain_size = size
        return 0


cdef class SocketPoll(PollOperation):
    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef object future = self.future
        self.future = None
        if future is None:
            return 0
        if type(future) is Waiter and result >= 0:
            return (<Waiter>future).finish()
        if future.done():
            return 0
        if result < 0:
            future.set_exception(os_error(-result))
        else:
            future.set_result(None)
        return 0


cdef class SocketCall(Awaitable):
    cdef bint begin(self) except -1:
        """Check what was asked, and make the operation; False if there is nothing to do."""
        raise NotImplementedError(f"{type(self).__name__}.begin")

    cdef object result(self):
        """What the caller gets of an operation that is done, or has nothing to do."""
        raise NotImplementedError(f"{type(self).__name__}.result")

    cdef object attempt(self):
        cdef bint done
        if self.operation is not None:
            return self.attempt_again()
        if not self.begin():
            return self.result()
        if not self.loop.is_to_wait_first(self.fd):
            done = self.perform()
            self.loop.note_attempt(self.fd, done)
            if done:
                return self.result()
        return self.wait()

    cdef object attempt_again(self):
        """The wait is over; others have had their turn since, and may have closed the socket."""
        if self.is_orphaned():
            raise os_error(-self.operation.result)
        return self.result() if self.perform() else self.wait()

    cdef bint is_orphaned(self) except -1:
        cdef Operation operation = self.operation
        cdef bint orphaned
        operation.fd = self.fd
        operation.sock = self.sock
        orphaned = operation.is_orphaned()
        # Others may try with the same one, and a socket that is given up must be freed.
        operation.sock = None
        return orphaned

    cdef bint perform(self) except -1:
        if self.operation.perform(&self.loop.counts.counters) == OUTCOME_NOT_DONE:
            return False
        if self.operation.result < 0:
            raise os_error(-self.operation.result)
        return True

    cdef object wait(self):
        """Start a poll, and wait for the Waiter or the future that it completes."""
        cdef SocketPoll poll = SocketPoll.__new__(SocketPoll)
        cdef object future
        poll.set_up(self.fd, self.operation.events)
        poll.sock = self.sock
        if self.loop.waits_natively():
            future = make_waiter(self.loop)
        else:
            future = self.loop.create_future()
        poll.future = future
        if self.loop._model.start(poll) == COMPLETED:
            poll.completed(poll.result, 0)
        else:
            self.poll = poll
        self.waiting = future if type(future) is Waiter else iter(future)
        return None

    cdef int wait_is_over(self) except -1:
        """It has come; or the caller was cancelled, or is gone."""
        cdef SocketPoll poll = self.poll
        self.poll = None
        if poll is not None:
            poll.future = None
            if poll.state != STATE_IDLE:
                self.loop._model.stop(poll)
        return 0

    def __del__(self):
        self.wait_is_over()


cdef class SocketReceive(SocketCall):
    cdef str what(self):
        return "EventLoop.sock_recv"

    cdef bint begin(self) except -1:
        cdef Py_ssize_t length_max = self.size
        self.fd = self.loop.check_socket(self.sock)
        if length_max < 0:
            raise ValueError("negative buffersize in recv")
        if length_max == 0:
            return False  # recv(2) of nothing would wait for something
        if <size_t>length_max > SCRATCH_BYTES and self.sock.type != socket.SOCK_STREAM:
            # What does not fit of a message is lost.
            self.message = bytearray(length_max)
            self.operation = ReceiveIntoOperation(self.fd, self.message)
        else:
            self.length = length_max
            self.operation = self.loop.receiver
        return True

    cdef bint perform(self) except -1:
        if self.message is None:
            self.loop.receiver.set_up(self.fd, self.loop.scratch, self.length)
        return SocketCall.perform(self)

    cdef object result(self):
        cdef bytes data
        if self.operation is None:
            return b""
        if self.message is not None:
            return bytes(memoryview(self.message)[:self.operation.result])
        data = self.loop.receiver.data
        self.loop.receiver.data = b""
        return data


cdef class SocketReceiveInto(SocketCall):
    cdef str what(self):
        return "EventLoop.sock_recv_into"

    cdef bint begin(self) except -1:
        self.fd = self.loop.check_socket(self.sock)
        self.operation = ReceiveIntoOperation(self.fd, self.target)
        return self.operation.length > 0

    cdef object result(self):
        return self.operation.result


cdef class SocketSendAll(Awaitable):
    """The first attempt, which usually is the last; a coroutine sends the rest."""

    cdef str what(self):
        return "EventLoop.sock_sendall"

    cdef object attempt(self):
        cdef SendOperation operation
        cdef Py_ssize_t sent
        cdef int fd
        if self.begun:
            return None  # the coroutine has sent it
        fd = self.loop.check_socket(self.sock)
        if type(self.data) is bytes:
            operation = self.loop.sender
            operation.set_up(fd, True)
            operation.load(self.data)
        else:
            operation = SendOperation(fd, self.data, composed=True)
        sent = self.send_some(operation)
        if <size_t>sent < operation.length:
            self.waiting = self.loop._sendall(self.sock, memoryview(self.data).cast("B")[sent:])
        return None

    cdef Py_ssize_t send_some(self, SendOperation operation) except -1:
        """How much of it the kernel has taken."""
        cdef Outcome outcome = OUTCOME_NOT_DONE
        if operation.length:
            outcome = operation.perform(&self.loop.counts.counters)
        operation.source = None  # the loop's own keeps nothing of its callers
        if outcome == OUTCOME_NOT_DONE:
            return 0
        if operation.result < 0:
            raise os_error(-operation.result)
        return operation.result


cdef object receive(SocketLoop loop, object sock, object size):
    cdef SocketReceive call = SocketReceive.__new__(SocketReceive)
    call.loop = loop
    call.sock = sock
    call.size = size
    return call


cdef object receive_into(SocketLoop loop, object sock, object target):
    cdef SocketReceiveInto call = SocketReceiveInto.__new__(SocketReceiveInto)
    call.loop = loop
    call.sock = sock
    call.target = target
    return call


cdef object send_all(SocketLoop loop, object sock, object data):
    cdef SocketSendAll call = SocketSendAll.__new__(SocketSendAll)
    call.loop = loop
    call.sock = sock
    call.data = data
    return call


cdef Recycler socket_polls
cdef Recycler socket_receives
cdef Recycler socket_sends


cdef PyObject *allocate_socket_poll(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&socket_polls, type, count)


cdef void free_socket_poll(void *memory) noexcept:
    recycler_free(&socket_polls, memory)


cdef PyObject *allocate_socket_receive(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&socket_receives, type, count)


cdef void free_socket_receive(void *memory) noexcept:
    recycler_free(&socket_receives, memory)


cdef PyObject *allocate_socket_send(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&socket_sends, type, count)


cdef void free_socket_send(void *memory) noexcept:
    recycler_free(&socket_sends, memory)


recycle(&socket_polls, SocketPoll, allocate_socket_poll, free_socket_poll)
recycle(&socket_receives, SocketReceive, allocate_socket_receive, free_socket_receive)
recycle(&socket_sends, SocketSendAll, allocate_socket_send, free_socket_send)
