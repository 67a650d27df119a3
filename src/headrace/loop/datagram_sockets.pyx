"""What the loop does with datagram sockets: the sock_* methods, and making endpoints.

Addresses that only the socket module knows (other families, host names) and arguments that it would
refuse are left to it.
"""

from _socket import socket as NativeSocket

from headrace.core.datagram_operation cimport (
    DatagramBatch, ReceiveBytesFromOperation, ReceiveFromOperation, SendToOperation,
)
from headrace.core.operation cimport READABLE, WRITABLE
from headrace.kernel.address cimport RecentAddress, address_is_known
from headrace.kernel.socket cimport sockaddr_storage
from headrace.loop.datagram_transport import datagram_transport
from headrace.loop.socket_call cimport SocketCall
from headrace.loop.sockets cimport SocketMethods

cdef object native_family = NativeSocket.family.__get__


cdef class DatagramMethods(SocketMethods):
    def __cinit__(self, *arguments, **keywords):
        self.recent = RecentAddress()

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        self._check_no_transport(sock)
        if self.batch is None:
            self.batch = DatagramBatch()
        return datagram_transport(self, sock, self.batch, protocol, address, waiter, extra)

    def sock_recvfrom(self, sock, bufsize):
        cdef ReceiveFromCall call
        if not (
            address_is_known(family_of(sock)) and isinstance(bufsize, int)
            and 0 <= bufsize <= self.scratch.size
        ):
            return self._retry(sock, READABLE, "recvfrom", bufsize)
        call = ReceiveFromCall.__new__(ReceiveFromCall)
        self.fill(call, sock, bufsize)
        return call

    def sock_recvfrom_into(self, sock, buf, nbytes=0):
        cdef ReceiveFromIntoCall call
        if not (address_is_known(family_of(sock)) and has_room(buf, nbytes)):
            return self._retry(sock, READABLE, "recvfrom_into", buf, nbytes)
        call = ReceiveFromIntoCall.__new__(ReceiveFromIntoCall)
        self.fill(call, sock, nbytes or len(buf))
        call.target = buf
        return call

    def sock_sendto(self, sock, data, address):
        cdef sockaddr_storage destination
        cdef SendToCall call
        cdef int family = family_of(sock)
        if not self.recent.fill(family, address, &destination):
            return self._retry(sock, WRITABLE, "sendto", data, address)
        call = SendToCall.__new__(SendToCall)
        self.fill(call, sock, None)
        call.family = family
        call.data = data
        call.address = address
        return call

    cdef int fill(self, DatagramCall call, object sock, object size) except -1:
        call.loop = self
        call.sock = sock
        call.recent = self.recent
        call.size = size
        return 0

    async def _retry(self, sock, events, name, *arguments):
        """What the socket's method *name* answers once there is no need to wait for it."""
        self.check_socket(sock)
        while True:
            try:
                return getattr(sock, name)(*arguments)
            except (BlockingIOError, InterruptedError):
                pass
            await self._wait_ready(sock, events)


cdef class DatagramCall(SocketCall):
    pass


cdef class ReceiveFromCall(DatagramCall):
    cdef str what(self):
        return "EventLoop.sock_recvfrom"

    cdef bint begin(self) except -1:
        cdef ReceiveBytesFromOperation operation
        self.fd = self.loop.check_socket(self.sock)
        operation = ReceiveBytesFromOperation.__new__(ReceiveBytesFromOperation)
        operation.set_up(self.fd, self.loop.scratch, self.size)
        operation.data = b""
        self.operation = operation
        return True

    cdef object result(self):
        cdef ReceiveBytesFromOperation operation = self.operation
        return operation.data, operation.sender_as_recent(self.recent)


cdef class ReceiveFromIntoCall(DatagramCall):
    cdef str what(self):
        return "EventLoop.sock_recvfrom_into"

    cdef bint begin(self) except -1:
        self.fd = self.loop.check_socket(self.sock)
        self.operation = ReceiveFromOperation(self.fd, memoryview(self.target), self.size)
        return True

    cdef object result(self):
        cdef ReceiveFromOperation operation = self.operation
        return operation.result, operation.sender_as_recent(self.recent)


cdef class SendToCall(DatagramCall):
    cdef str what(self):
        return "EventLoop.sock_sendto"

    cdef object attempt(self):
        """At once: unlike what is received, there mostly is room."""
        cdef SendToOperation operation
        if self.operation is not None:
            return self.attempt_again()
        self.fd = self.loop.check_socket(self.sock)
        operation = SendToOperation.__new__(SendToOperation)
        operation.set_up(self.fd, self.family, self.recent)
        operation.load(as_bytes(self.data), self.address, False, self.sock)
        self.operation = operation
        return self.result() if self.perform() else self.wait()

    cdef object result(self):
        return self.operation.result


cdef bytes as_bytes(object data):
    """What is sent later than it is asked for: the caller may change it meanwhile."""
    return data if type(data) is bytes else bytes(memoryview(data))


cdef bint has_room(object target, object size) except -1:
    """Can *size* bytes be received into *target*, as it is?  Else the socket module knows more."""
    try:
        view = memoryview(target)
    except TypeError:
        return False
    return (
        not view.readonly and view.c_contiguous and isinstance(size, int)
        and 0 <= size <= view.nbytes
    )


cdef int family_of(object sock) except -2:
    """-1 for what only behaves like a socket."""
    # The socket module's own name for it is an enum's, made anew for each question.
    # By its type: a mock says of itself that it is one.
    family = native_family(sock) if issubclass(type(sock), NativeSocket) else sock.family
    return family if isinstance(family, int) else -1
