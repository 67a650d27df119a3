from headrace.core.operation cimport PollOperation
from headrace.loop.stream_reading cimport ReadingSide
from headrace.loop.stream_writing cimport WritingSide


cdef class ReadPipeTransport(ReadingSide):
    # Programs put attributes of their own on asyncio's pipe transports, methods among them.
    cdef dict __dict__


cdef class ReaderWatch(PollOperation):
    cdef WritePipeTransport transport


cdef class WritePipeTransport(WritingSide):
    cdef dict __dict__
    cdef ReaderWatch watch
    cdef bint can_watch       # a pipe or a socket tells when its reader has gone

    cdef int start_watching(self) except -1
    cdef int reader_gone(self) except -1
