from headrace.loop.engine cimport LoopCore
from headrace.loop.stream_writing cimport WritingSide


cdef class StreamTransport(WritingSide):
    pass


cdef bint has_attributes(StreamTransport transport) noexcept

cdef StreamTransport make_transport(
    LoopCore loop, int fd, object sock, object protocol, object context, object server,
)
