from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport Operation, PollOperation
from headrace.loop.watchers cimport Watchers


cdef enum CallState:
    CALL_NEW
    CALL_WAITING       # for its future, or within the coroutine that does the rest
    CALL_OVER


cdef class SocketLoop(Watchers):
    cdef BufferPool scratch
    cdef unsigned char *vain      # OWNS: by descriptor, attempts in vain one after the other
    cdef int vain_size

    cdef int check_socket(self, object sock) except? -2
    cdef bint is_to_wait_first(self, int fd) noexcept
    cdef int note_attempt(self, int fd, bint done) except -1


cdef class SocketPoll(PollOperation):
    cdef object future         # of the call that waits; None when nobody does


cdef class SocketCall:
    cdef str name
    cdef SocketLoop loop
    cdef object sock
    cdef Operation operation   # what is tried, once there is a descriptor
    cdef SocketPoll poll       # in flight while this waits
    cdef object future         # what the task waits for meanwhile
    cdef object rest           # a coroutine that does what is left, once there is one
    cdef object value          # the result
    cdef CallState state

    cdef int begin(self) except -1
    cdef bint attempt(self) except -1
    cdef object advance(self)
    cdef object advance_rest(self)
    cdef object wait(self)
    cdef int take_up(self) except -1
    cdef int let_go(self) except -1
    cdef bint perform(self) except -1


cdef class SocketReceive(SocketCall):
    cdef object size


cdef class SocketReceiveInto(SocketCall):
    cdef object target


cdef class SocketSendAll(SocketCall):
    cdef object data


cdef object receive(SocketLoop loop, object sock, object size)
cdef object receive_into(SocketLoop loop, object sock, object target)
cdef object send_all(SocketLoop loop, object sock, object data)
