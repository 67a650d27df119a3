from cpython.object cimport PyObject

from headrace.core.flag cimport flag
from headrace.core.operation cimport ReceiveOperation
from headrace.loop.byte_sink cimport ByteSink
from headrace.loop.flow_control cimport FlowControl


cdef class StreamReceive(ReceiveOperation):
    cdef ReadingSide side


cdef class ReadingSide(FlowControl):
    cdef StreamReceive receive
    cdef ByteSink sink        # the protocol, if it takes bytes without an object
    cdef object reader        # of a protocol that is asyncio's own for streams: a weak reference
    cdef list held            # received while paused
    cdef PyObject *room       # OWNS, from place() to its answer: bytes, or the protocol's buffer
    cdef Py_ssize_t taken     # of the piece that is being delivered, by the protocol's buffer
    cdef unsigned long delivered_turn  # of the last piece of data
    cdef int end_result       # how the stream ended: 0 in order, or a negative errno ...
    cdef flag end_held        # ... while we were paused
    cdef flag feeds_asyncio   # see there; until data come, only perhaps
    cdef flag paused
    cdef flag at_eof          # the peer has ended its side, and the protocol knows
    cdef flag deliver_queued

    cdef StreamReceive new_receive(self)
    cdef int start_receiving(self) except -1
    cdef int received(self, const char *data, int result) except -1
    cdef char *place(self, size_t *room) noexcept
    cdef char *place_in_bytes(self, size_t *room) noexcept
    cdef char *place_in_protocol(self, size_t *room) noexcept
    cdef char *place_in_reader(self, size_t *room) noexcept
    cdef void leave_place(self) noexcept
    cdef int received_in_place(self, Py_ssize_t size) except -1
    cdef int fed_in_place(self, Py_ssize_t size) except -1
    cdef int ended(self, int result) except -1
    cdef int hold(self, bytes data) except -1
    cdef int deliver(self, const char *data, Py_ssize_t size) except -1
    cdef bint deliver_to_stream(self, const char *data, Py_ssize_t size, bytes whole) except -1
    cdef int keep_rest(self, const char *data, Py_ssize_t size) except -1
    cdef int deliver_bytes(self, object data) except -1
    cdef Py_ssize_t deliver_buffered(self, const char *data, Py_ssize_t size) except -1
    cdef object buffer_of_protocol(self)
    cdef int buffer_updated(self, Py_ssize_t size) except -1
    cdef int deliver_held(self) except -1
    cdef int queue_delivery(self) except -1
    cdef int deliver_eof(self) except -1
