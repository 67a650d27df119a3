from headrace.core.operation cimport ReceiveOperation, SendOperation
from headrace.core.ready_queue cimport Runnable
from headrace.loop.engine cimport LoopCore


cdef class StreamReceive(ReceiveOperation):
    cdef StreamTransport transport


cdef class StreamSend(SendOperation):
    cdef StreamTransport transport


cdef class StreamTransport(Runnable):
    cdef object __weakref__
    cdef LoopCore loop
    cdef object protocol
    cdef object context       # the callbacks' own; made when first needed
    cdef object base_context  # what it is a copy of
    cdef object server
    cdef object waiter
    cdef object sock          # a socket object, where one was given or asked for
    cdef dict extra
    cdef StreamReceive receive
    cdef StreamSend send
    cdef list chunks          # written and not yet handed to the kernel
    cdef list held            # received while paused
    cdef object error
    cdef object empty_waiter
    cdef size_t buffered      # bytes in chunks and in flight
    cdef size_t high_water
    cdef size_t low_water
    cdef int fd
    cdef int lost_writes      # write() calls after the connection was lost
    cdef bint is_buffered     # the protocol is a BufferedProtocol
    cdef bint closing
    cdef bint lost            # connection_lost() is certain
    cdef bint lost_queued
    cdef bint paused
    cdef bint at_eof          # the peer has ended its side, and the protocol knows
    cdef bint end_held        # the stream has ended while we were paused ...
    cdef int end_result       # ... so: 0 in order, or a negative errno
    cdef bint eof_asked       # write_eof() was called
    cdef bint protocol_paused
    cdef bint dirty           # in the loop's flush queue
    cdef bint deliver_queued
    cdef unsigned char peer_length
    cdef char peer[28]        # struct sockaddr_in or sockaddr_in6, as the kernel gave it

    cdef int remember_peer(self) noexcept
    cdef int begin(self) except -1
    cdef int begun(self) except -1
    cdef int start_receiving(self) except -1
    cdef object enter_context(self)
    cdef int received(self, const char *data, int result) except -1
    cdef int ended(self, int result) except -1
    cdef int deliver(self, const char *data, Py_ssize_t size) except -1
    cdef int deliver_bytes(self, object data) except -1
    cdef Py_ssize_t deliver_buffered(self, const char *data, Py_ssize_t size) except -1
    cdef int deliver_held(self) except -1
    cdef int queue_delivery(self) except -1
    cdef int hold(self, bytes data) except -1
    cdef bint may_write(self) except -1
    cdef int tell_protocol(self, str name) except -1
    cdef int report(self, object error, str message) except -1
    cdef int close_descriptor(self) except -1
    cdef int let_go(self) except -1
    cdef object peer_name(self)
    cdef object socket_name(self)
    cdef int deliver_eof(self) except -1
    cdef int append(self, bytes data) except -1
    cdef int make_dirty(self) except -1
    cdef int load(self) except -1
    cdef int pump(self) except -1
    cdef int sent(self, int result) except -1
    cdef int drained(self) except -1
    cdef int maybe_pause_protocol(self) except -1
    cdef int maybe_resume_protocol(self) except -1
    cdef int fatal_error(self, object error, str message) except -1
    cdef int lose(self, object error) except -1
    cdef int finish_if_quiet(self) except -1
    cdef int finish(self) except -1


cdef StreamTransport make_transport(
    LoopCore loop, int fd, object sock, object protocol, object context, object server,
)
