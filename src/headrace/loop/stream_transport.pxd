from headrace.loop.engine cimport LoopCore
from headrace.loop.stream_writing cimport WritingSide


cdef class StreamTransport(WritingSide):
    pass


cdef StreamTransport make_transport(
    LoopCore loop, int fd, object sock, object protocol, object context, object server,
)
