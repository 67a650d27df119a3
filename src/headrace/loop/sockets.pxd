from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport Operation
from headrace.loop.watchers cimport Watchers


cdef class SocketMethods(Watchers):
    cdef BufferPool scratch

    cdef int check_socket(self, object sock) except -1
    cdef object begin(self, Operation operation)
    cdef int abandon(self, Operation operation) except -1
