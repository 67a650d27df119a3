from headrace.core.flag cimport flag
from headrace.core.ready_queue cimport Runnable
from headrace.loop.engine cimport LoopCore

# The steps of a connection's life that wait for their turn in the ready queue.
cdef enum:
    STEP_BEGIN
    STEP_DELIVER
    STEP_FINISH
    STEP_FLUSH


cdef class Connection(Runnable):
    cdef object __weakref__
    cdef dict __dict__        # as asyncio's: programs put attributes, and methods, in it
    cdef LoopCore loop
    cdef object protocol
    cdef object context       # the callbacks' own; made when first needed
    cdef object base_context  # what it is a copy of
    cdef object server
    cdef object waiter
    cdef object sock          # a socket or pipe object, where one was given or asked for
    cdef dict extra
    cdef object error
    cdef object loan          # while sock_sendfile() has the descriptor: a future, see lend()
    cdef int fd
    cdef flag is_buffered     # the protocol is a BufferedProtocol
    cdef flag in_callback     # inside the context
    cdef flag closing
    cdef flag lost            # connection_lost() is certain
    cdef unsigned char peer_length
    cdef char peer[28]        # struct sockaddr_in or sockaddr_in6, as the kernel gave it

    cdef int own(self, int fd, bint exclusive) except -1
    cdef int begin(self) except -1
    cdef int begun(self) except -1
    cdef int start_operations(self) except -1
    cdef int remember_peer(self) noexcept
    cdef int remember_names(self) except -1
    cdef object peer_name(self)
    cdef object socket_name(self)
    cdef object socket_object(self, object default)
    cdef bint enter_context(self) except -1
    cdef int leave_context(self, bint entered) except -1
    cdef str noun(self)
    cdef int fatal_error(self, object error, str message) except -1
    cdef int protocol_failed(self, object error, str message) except -1
    cdef int report(self, object error, str message) except -1
    cdef int send_what_can_be(self) except -1
    cdef int drop_output(self) except -1
    cdef int stop_operations(self) except -1
    cdef bint is_quiet(self) noexcept
    cdef int lose(self, object error) except -1
    cdef int finish_if_quiet(self) except -1
    cdef int release(self) except -1
    cdef int finish(self) except -1
    cdef int close_descriptor(self) except -1
    cdef int let_go(self) except -1
