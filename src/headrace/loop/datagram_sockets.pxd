from headrace.core.datagram_operation cimport DatagramBatch
from headrace.kernel.address cimport RecentAddress
from headrace.loop.socket_call cimport SocketCall
from headrace.loop.sockets cimport SocketMethods


cdef class DatagramCall(SocketCall):
    cdef RecentAddress recent
    cdef object size


cdef class ReceiveFromCall(DatagramCall):
    pass


cdef class ReceiveFromIntoCall(DatagramCall):
    cdef object target


cdef class SendToCall(DatagramCall):
    cdef int family
    cdef object data
    cdef object address


cdef class DatagramMethods(SocketMethods):
    cdef DatagramBatch batch  # made for the first datagram endpoint
    cdef RecentAddress recent  # of the sock_* methods

    cdef int fill(self, DatagramCall call, object sock, object size) except -1
