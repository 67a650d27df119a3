from headrace.core.datagram_operation cimport ReceiveDatagramsOperation, SendToOperation
from headrace.loop.flow_control cimport FlowControl


cdef class DatagramReceive(ReceiveDatagramsOperation):
    cdef DatagramTransport transport


cdef class DatagramSend(SendToOperation):
    cdef DatagramTransport transport

    cdef object error(self, int result)


cdef class DatagramTransport(FlowControl):
    cdef DatagramReceive receive
    cdef DatagramSend send
    cdef object waiting       # deque of (data, address), behind the one that is being sent
    cdef list held            # (data, address) that could not be delivered yet
    cdef object address       # the only one to send to, where the endpoint was given one
    cdef int lost_writes      # sendto() calls after the end
    cdef bint is_connected    # the kernel knows where to send to
    cdef bint paused
    cdef bint deliver_queued

    cdef int start_receiving(self) except -1
    cdef int received(self, list datagrams, int result) except -1
    cdef int receive_ended(self, int result) except -1
    cdef int deliver(self, list datagrams) except -1
    cdef int tell(self, object data, object address) except -1
    cdef int hold(self, list datagrams, bint first) except -1
    cdef int queue_delivery(self) except -1
    cdef int deliver_held(self) except -1
    cdef bint is_blocked(self) except -1
    cdef bint is_too_late(self) except -1
    cdef bint send_nowait(self, bytes data, object address) except -1
    cdef bint attempt(self, bytes data, object address) except -1
    cdef int send_failed(self, object error) except -1
    cdef int pump(self) except -1
    cdef int send_waiting(self) except -1
    cdef int sent(self, int result) except -1
