from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport (
    Operation, PollOperation, ReceiveBytesOperation, SendOperation,
)
from headrace.loop.awaitable cimport Awaitable
from headrace.loop.watchers cimport Watchers


cdef class SocketLoop(Watchers):
    cdef BufferPool scratch
    # What is tried at once and never in flight: one for all calls.
    cdef ReceiveBytesOperation receiver
    cdef SendOperation sender
    cdef unsigned char *vain      # OWNS: by descriptor, attempts in vain one after the other
    cdef int vain_size

    cdef int check_socket(self, object sock) except? -2
    cdef bint is_to_wait_first(self, int fd) noexcept
    cdef int note_attempt(self, int fd, bint done) except -1


cdef class SocketPoll(PollOperation):
    cdef object future         # of the call that waits; None when nobody does


cdef class SocketCall(Awaitable):
    cdef SocketLoop loop
    cdef object sock
    cdef int fd
    cdef Operation operation   # what is tried, once there is a descriptor
    cdef SocketPoll poll       # in flight while this waits

    cdef bint begin(self) except -1
    cdef bint is_orphaned(self) except -1
    cdef object result(self)
    cdef object attempt_again(self)
    cdef bint perform(self) except -1
    cdef object wait(self)


cdef class SocketReceive(SocketCall):
    cdef object size
    cdef size_t length
    cdef object message        # where what may be longer than the loop's buffer is received into


cdef class SocketReceiveInto(SocketCall):
    cdef object target


cdef class SocketSendAll(Awaitable):
    cdef SocketLoop loop
    cdef object sock
    cdef object data

    cdef Py_ssize_t send_some(self, SendOperation operation) except -1


cdef object receive(SocketLoop loop, object sock, object size)
cdef object receive_into(SocketLoop loop, object sock, object target)
cdef object send_all(SocketLoop loop, object sock, object data)
