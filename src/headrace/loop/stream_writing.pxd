from headrace.core.flag cimport flag
from headrace.core.operation cimport SendOperation
from headrace.loop.stream_reading cimport ReadingSide


cdef class StreamSend(SendOperation):
    cdef WritingSide side


cdef class WritingSide(ReadingSide):
    cdef StreamSend send
    cdef object chunks        # written and not yet handed to the kernel: bytes, or a list of them
    cdef object empty_waiter
    cdef int lost_writes      # write() calls after the connection was lost
    cdef flag eof_asked       # write_eof() was called
    cdef flag dirty           # in the loop's flush queue

    cdef bint may_write(self) except -1
    cdef int note_lost_write(self, str message) except -1
    cdef int take_data(self, object data) except -1
    cdef int append(self, bytes data) except -1
    cdef int gather(self, bytes data) except -1
    cdef int send_now(self, bytes data) except -1
    cdef int make_dirty(self) except -1
    cdef int load(self) except -1
    cdef bytes next_chunk(self)
    cdef int put_back(self, bytes data) except -1
    cdef int send_at_once(self) except -1
    cdef StreamSend new_send(self)
    cdef int make_send(self) except -1
    cdef int pump(self) except -1
    cdef int sent(self, int result) except -1
    cdef int drained(self) except -1
