from headrace.core.operation cimport Operation
from headrace.loop.socket_call cimport SocketLoop


cdef class SocketMethods(SocketLoop):
    cdef object begin(self, Operation operation)
    cdef int abandon(self, Operation operation) except -1
