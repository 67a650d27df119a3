"""What the loop does with datagram sockets: the sock_* methods, and making endpoints.

Addresses that only the socket module knows (other families, host names) and arguments that it would
refuse are left to it.
"""

from headrace.core.datagram_operation cimport (
    DatagramBatch, ReceiveBytesFromOperation, ReceiveFromOperation, SendToOperation,
)
from headrace.core.operation cimport READABLE, WRITABLE
from headrace.kernel.address cimport address_fill_nowait, address_is_known
from headrace.kernel.socket cimport sockaddr_storage
from headrace.loop.datagram_transport import datagram_transport
from headrace.loop.sockets cimport SocketMethods


cdef class DatagramMethods(SocketMethods):
    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        self._check_no_transport(sock)
        if self.batch is None:
            self.batch = DatagramBatch()
        return datagram_transport(self, sock, self.batch, protocol, address, waiter, extra)

    async def sock_recvfrom(self, sock, bufsize):
        self.check_socket(sock)
        if not address_is_known(family_of(sock)) or not 0 <= bufsize <= self.scratch.size:
            return await self._retry(sock, READABLE, "recvfrom", bufsize)
        operation = ReceiveBytesFromOperation(sock.fileno(), self.scratch, bufsize)
        await self._take(sock, operation)
        return operation.data, operation.sender

    async def sock_recvfrom_into(self, sock, buf, nbytes=0):
        self.check_socket(sock)
        view = memoryview(buf)
        if (
            not address_is_known(family_of(sock)) or view.readonly or not view.c_contiguous
            or not 0 <= nbytes <= view.nbytes
        ):
            return await self._retry(sock, READABLE, "recvfrom_into", buf, nbytes)
        operation = ReceiveFromOperation(sock.fileno(), view, nbytes or len(buf))
        return await self._take(sock, operation), operation.sender

    async def sock_sendto(self, sock, data, address):
        cdef sockaddr_storage destination
        self.check_socket(sock)
        if not address_fill_nowait(family_of(sock), address, &destination):
            return await self._retry(sock, WRITABLE, "sendto", data, address)
        operation = SendToOperation(sock, bytes(data), address)
        return await self._perform(sock, operation)

    async def _retry(self, sock, events, name, *arguments):
        """What the socket's method *name* answers once there is no need to wait for it."""
        while True:
            try:
                return getattr(sock, name)(*arguments)
            except (BlockingIOError, InterruptedError):
                pass
            await self._wait_ready(sock, events)


cdef int family_of(object sock) except -2:
    """-1 for what only behaves like a socket."""
    family = sock.family
    return family if isinstance(family, int) else -1
