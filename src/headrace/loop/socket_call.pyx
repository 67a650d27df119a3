"""The sock_* methods that are called for every piece of data, as native awaitables.

A coroutine would be made for each call, and another with a future and an operation for each wait.
Here a call is one object, which tries, waits for readiness if it must, and takes in a step of the
caller's task (see loop/sockets.pyx for why there).  It is a coroutine to all who ask:
collections.abc.Coroutine, asyncio.iscoroutine(), create_task().

Trying first costs a system call in vain where a request is yet to come, waiting first a turn where
data are there.  So each descriptor remembers: after two vain attempts it is waited for first, and
tried again now and then.
"""

import socket
import warnings
from asyncio import futures

from cpython.object cimport PyObject
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, STATE_IDLE, PollOperation, ReceiveBytesOperation,
    ReceiveIntoOperation, SendOperation,
)
from headrace.kernel.errors cimport os_error
from headrace.loop.watchers cimport Watchers
from headrace.models.contract cimport COMPLETED

cdef extern from "Python.h":
    ctypedef PyObject *(*iternextfunc)(PyObject *self) except? NULL
    ctypedef struct PyTypeObject:
        iternextfunc tp_iternext
    void PyErr_SetObject(object kind, object value)
    PyObject *as_reference "Py_NewRef" (object target)

# The most that one sock_recv() brings, as much as one receive of a transport.
cdef size_t SCRATCH_BYTES = 256 * 1024
# After so many attempts in vain a descriptor is waited for first, and tried first every so often.
cdef enum:
    VAIN_MAX = 2
    TRIED_EVERY = 16

# What advance() answers when there is nothing to wait for any more.
cdef object FINISHED = object()


cdef class SocketLoop(Watchers):
    """What the loop keeps for sockets that stay the caller's."""

    def __cinit__(self, *arguments, **keywords):
        self.scratch = BufferPool(1, SCRATCH_BYTES)

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
        if fd >= self.vain_size or self.vain[fd] < VAIN_MAX:
            return False
        self.vain[fd] += 1
        return self.vain[fd] % TRIED_EVERY != 0

    cdef int note_attempt(self, int fd, bint done) except -1:
        cdef int size = fd + 1
        cdef unsigned char *grown
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
        if future is None or future.done():
            return 0
        if result < 0:
            future.set_exception(os_error(-result))
        else:
            future.set_result(None)
        return 0


cdef class SocketCall:
    @property
    def __name__(self):
        return self.name

    @property
    def __qualname__(self):
        return f"EventLoop.{self.name}"

    @property
    def cr_running(self):
        return False

    @property
    def cr_await(self):
        return self.rest if self.rest is not None else self.future

    def __repr__(self):
        state = ("new", "waiting", "over")[<int>self.state]
        return f"<coroutine {self.__qualname__} {state} sock={self.sock!r}>"

    def __await__(self):
        if self.state != CALL_NEW:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return self

    def __iter__(self):
        return self

    def __next__(self):
        answer = self.advance()
        if answer is FINISHED:
            raise StopIteration(self.value)
        return answer

    def send(self, value):
        if value is not None and self.state == CALL_NEW:
            raise TypeError("can't send non-None value to a just-started coroutine")
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        if self.rest is not None:
            return self.rest.throw(kind if value is None else value)
        self.let_go()
        self.state = CALL_OVER
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        elif not isinstance(value, BaseException):
            value = kind(value)
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        if self.rest is not None:
            self.rest.close()
        self.let_go()
        self.state = CALL_OVER

    def __del__(self):
        if self.state == CALL_NEW:
            warnings.warn(
                f"coroutine {self.__qualname__!r} was never awaited", RuntimeWarning, source=self
            )
        else:
            self.let_go()

    cdef int begin(self) except -1:
        """The first step: check what was asked, and find the descriptor."""
        raise NotImplementedError(f"{type(self).__name__}.begin")

    cdef bint attempt(self) except -1:
        """Try it now; True if that was all, with `value` set."""
        raise NotImplementedError(f"{type(self).__name__}.attempt")

    cdef object advance(self):
        """The next step of the caller's task: what it has to wait for, or FINISHED."""
        if self.rest is not None:
            return self.advance_rest()
        if self.state == CALL_OVER:
            raise RuntimeError("cannot reuse already awaited coroutine")
        try:
            if self.state == CALL_NEW:
                self.state = CALL_WAITING
                if self.begin() and not self.loop.is_to_wait_first(self.operation.fd):
                    if self.attempt():
                        self.state = CALL_OVER
                        self.loop.note_attempt(self.operation.fd, True)
                        return FINISHED
                    self.loop.note_attempt(self.operation.fd, False)
            elif self.take_up() and self.attempt():
                self.state = CALL_OVER
                return FINISHED
            if self.state == CALL_OVER:
                return FINISHED
            return self.advance_rest() if self.rest is not None else self.wait()
        except BaseException:
            self.state = CALL_OVER
            raise

    cdef object advance_rest(self):
        try:
            return self.rest.send(None)
        except StopIteration as end:
            self.rest = None
            self.state = CALL_OVER
            self.value = end.value
            return FINISHED

    cdef object wait(self):
        """Start a poll, and answer the future that it completes."""
        cdef SocketPoll poll = SocketPoll.__new__(SocketPoll)
        poll.set_up(self.operation.fd, self.operation.events)
        poll.sock = self.sock
        future = futures.Future(loop=self.loop)
        poll.future = future
        if self.loop._model.start(poll) == COMPLETED:
            poll.completed(poll.result, 0)
        else:
            self.poll = poll
        self.future = future
        future._asyncio_future_blocking = True
        return future

    cdef int take_up(self) except -1:
        """The wait has ended; others have had their turn since, and may have closed the socket."""
        self.poll = None
        future = self.future
        self.future = None
        future.result()
        if self.operation.is_orphaned():
            raise os_error(-self.operation.result)
        return 1

    cdef int let_go(self) except -1:
        """The caller was cancelled, or is gone."""
        cdef SocketPoll poll = self.poll
        self.poll = None
        self.future = None
        if poll is not None:
            poll.future = None
            if poll.state != STATE_IDLE:
                self.loop._model.stop(poll)
        return 0

    cdef bint perform(self) except -1:
        if self.operation.perform(&self.loop.counts.counters) == OUTCOME_NOT_DONE:
            return False
        if self.operation.result < 0:
            raise os_error(-self.operation.result)
        return True


cdef class SocketReceive(SocketCall):
    cdef int begin(self) except -1:
        cdef Py_ssize_t length_max = self.size
        cdef ReceiveBytesOperation operation
        cdef int fd = self.loop.check_socket(self.sock)
        if length_max < 0:
            raise ValueError("negative buffersize in recv")
        if length_max == 0:
            self.value = b""  # recv(2) of nothing would wait for something
            self.state = CALL_OVER
            return 0
        if <size_t>length_max > SCRATCH_BYTES and self.sock.type != socket.SOCK_STREAM:
            self.rest = self.loop._recv_message(self.sock, length_max)
            return 0
        operation = ReceiveBytesOperation.__new__(ReceiveBytesOperation)
        operation.set_up(fd, self.loop.scratch, length_max)
        operation.sock = self.sock
        self.operation = operation
        return 1

    cdef bint attempt(self) except -1:
        if not self.perform():
            return False
        self.value = (<ReceiveBytesOperation>self.operation).data
        return True


cdef class SocketReceiveInto(SocketCall):
    cdef int begin(self) except -1:
        cdef int fd = self.loop.check_socket(self.sock)
        self.operation = ReceiveIntoOperation(fd, self.target)
        self.operation.sock = self.sock
        if self.operation.length == 0:
            self.value = 0
            self.state = CALL_OVER
            return 0
        return 1

    cdef bint attempt(self) except -1:
        if not self.perform():
            return False
        self.value = self.operation.result
        return True


cdef class SocketSendAll(SocketCall):
    """The first attempt, which usually is the last; a coroutine sends the rest."""

    cdef int begin(self) except -1:
        cdef Py_ssize_t sent = 0
        cdef int fd = self.loop.check_socket(self.sock)
        if type(self.data) is bytes:
            self.operation = SendOperation.__new__(SendOperation)
            (<SendOperation>self.operation).set_up(fd, True)
            (<SendOperation>self.operation).load(self.data)
        else:
            self.operation = SendOperation(fd, self.data, composed=True)
        if self.operation.length and self.perform():
            sent = self.operation.result
        if <size_t>sent == self.operation.length:
            self.state = CALL_OVER
        else:
            self.rest = self.loop._sendall(self.sock, memoryview(self.data).cast("B")[sent:])
        return 0


cdef PyObject *next_step(PyObject *self) except? NULL:
    """__next__() without an exception object at the end: tp_iternext may leave its value alone."""
    cdef SocketCall call = <SocketCall>self
    answer = call.advance()
    if answer is not FINISHED:
        return as_reference(answer)
    if call.value is not None:
        PyErr_SetObject(StopIteration, call.value)
    return NULL


cdef int use_slot() except -1:
    for kind in (SocketCall, SocketReceive, SocketReceiveInto, SocketSendAll):
        (<PyTypeObject *>kind).tp_iternext = next_step
    return 0


use_slot()


cdef object receive(SocketLoop loop, object sock, object size):
    cdef SocketReceive call = SocketReceive.__new__(SocketReceive)
    call.name = "sock_recv"
    call.loop = loop
    call.sock = sock
    call.size = size
    return call


cdef object receive_into(SocketLoop loop, object sock, object target):
    cdef SocketReceiveInto call = SocketReceiveInto.__new__(SocketReceiveInto)
    call.name = "sock_recv_into"
    call.loop = loop
    call.sock = sock
    call.target = target
    return call


cdef object send_all(SocketLoop loop, object sock, object data):
    cdef SocketSendAll call = SocketSendAll.__new__(SocketSendAll)
    call.name = "sock_sendall"
    call.loop = loop
    call.sock = sock
    call.data = data
    return call
