from headrace.core.datagram_operation cimport DatagramBatch
from headrace.loop.sockets cimport SocketMethods


cdef class DatagramMethods(SocketMethods):
    cdef DatagramBatch batch  # made for the first datagram endpoint
