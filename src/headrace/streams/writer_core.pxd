from headrace.loop.awaitable cimport Awaitable


cdef class WriterCore:
    cdef object __weakref__
    cdef dict __dict__        # as asyncio's has; made when somebody puts something in it
    cdef public object _transport
    cdef public object _protocol
    cdef public object _reader
    cdef public object _loop
    cdef object complete

    cdef bint may_go_on(self) except -1


cdef class Draining(Awaitable):
    cdef WriterCore writer
