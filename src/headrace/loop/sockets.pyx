"""The sock_* methods: one operation at a time on a socket that is the caller's.

The caller may cancel at any moment and go on using the socket, so nothing may be taken that is not
delivered, neither bytes nor a connection: the caller waits until the socket is ready, and takes in
a step of its own task, where no cancellation can come between.  (asyncio takes when the socket is
ready; what it has taken for a task that is cancelled before its turn is lost.)  What sends or
connects is `composed` (see models/uring.pyx), or tries at once.
"""

import asyncio
import os
import socket
from asyncio import exceptions

from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, STATE_IDLE, WRITABLE, AcceptOperation, ConnectOperation, Operation,
    PollOperation, SendfileOperation, SendOperation,
)
from headrace.kernel.errors cimport os_error
from headrace.loop.socket_call cimport SocketLoop, receive, receive_into, send_all
from headrace.models.contract cimport COMPLETED

cdef size_t SENDFILE_BYTES_MAX = 0x7FFFF000


class OperationFuture(asyncio.Future):
    """An operation's result; cancelling it cancels the operation, at once.

    Not when the task comes to know of it, which is a turn later: until then the operation would
    be performed, and would take bytes or a connection for nobody.
    """

    def __init__(self, operation, model, loop):
        asyncio.Future.__init__(self, loop=loop)
        self.operation = operation
        self.model = model
        operation.on_complete = self.completed

    def completed(self, operation, result, more):
        if not self.done():
            self.set_result(result)
        self.let_go()

    def cancel(self, msg=None):
        cancelled = asyncio.Future.cancel(self, msg)
        if cancelled and self.operation is not None:
            self.model.stop_operation(self.operation)
            self.let_go()
        return cancelled

    def let_go(self):
        """Break the cycle, so that the caller's memory is free with the operation."""
        if self.operation is not None:
            self.operation.on_complete = None
            self.operation = None


cdef class SocketMethods(SocketLoop):
    cdef object begin(self, Operation operation):
        """Try *operation* at once; a future of its result if it has to wait, else None."""
        if operation.perform(&self.counts.counters) != OUTCOME_NOT_DONE:
            return None
        future = OperationFuture(operation, self._model, self)
        if self._model.start(operation) == COMPLETED:
            future.let_go()
            return None
        return future

    async def _perform(self, sock, Operation operation):
        """The result of *operation* on *sock*, once there is one; raises its error."""
        cdef int result
        operation.sock = sock
        future = self.begin(operation)
        if future is None:
            result = operation.result
        else:
            try:
                result = await future
            except BaseException:
                self.abandon(operation)
                raise
        if result < 0:
            raise os_error(-result)
        return result

    cdef int abandon(self, Operation operation) except -1:
        """The caller was cancelled."""
        if operation.state != STATE_IDLE:
            self._model.stop(operation)
        return 0

    async def _take(self, sock, Operation operation):
        """The result of a receive or an accept, performed here: see above."""
        operation.sock = sock
        # Since the socket was ready others have had their turn: it may be closed by now.
        while (
            not operation.is_orphaned()
            and operation.perform(&self.counts.counters) == OUTCOME_NOT_DONE
        ):
            await self._wait_ready(sock, operation.events)
        if operation.result < 0:
            raise os_error(-operation.result)
        return operation.result

    async def _wait_ready(self, sock, events):
        """Wait until the socket says that it is ready; that may be wrong.

        Others have their turn even if it always says so: a Unix socket that is not connected does,
        however full the receiver's queue is.
        """
        operation = PollOperation(sock.fileno(), events)
        operation.sock = sock
        future = OperationFuture(operation, self._model, self)
        if self._model.start(operation) == COMPLETED:
            future.set_result(operation.result)
            future.let_go()
        try:
            result = await future
        except BaseException:
            self.abandon(operation)
            raise
        if result < 0:
            raise os_error(-result)

    def sock_recv(self, sock, n):
        return receive(self, sock, n)

    def sock_recv_into(self, sock, buf):
        return receive_into(self, sock, buf)

    def sock_sendall(self, sock, data):
        return send_all(self, sock, data)

    async def _sendall(self, sock, view):
        """What the first attempt of sock_sendall() has left."""
        cdef Py_ssize_t sent = 0
        while sent < len(view):
            sent += await self._perform(
                sock, SendOperation(sock.fileno(), view[sent:], composed=True)
            )

    async def sock_accept(self, sock):
        self.check_socket(sock)
        operation = AcceptOperation(sock.fileno(), False)
        fd = await self._take(sock, operation)
        connection = socket.socket(sock.family, sock.type, sock.proto, fileno=fd)
        connection.setblocking(False)
        return connection, operation.peer

    async def sock_connect(self, sock, address):
        cdef ConnectOperation operation
        self.check_socket(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = resolved[0][4]
        try:
            operation = ConnectOperation(sock.fileno(), sock.family, address)
        except ValueError:
            return await self._connect_other_family(sock, address)
        try:
            await self._perform(sock, operation)
        except OSError as error:
            # As asyncio: the address is told where the answer comes later, not where connect(2)
            # itself has failed.  What the model says, rather than the kernel, is kept.
            if not operation.started or error.strerror != os.strerror(error.errno):
                raise
            raise type(error)(error.errno, f"Connect call failed {address}") from None

    async def _connect_other_family(self, sock, address):
        """A family whose addresses only the socket module knows: connect, then wait."""
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            await self._perform(sock, PollOperation(sock.fileno(), WRITABLE))
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"Connect call failed {address}") from None

    async def _sock_sendfile_native(self, sock, file, offset, count):
        """sendfile(2), as loop.sock_sendfile() asks; the count of bytes sent."""
        cdef size_t step
        try:
            fileno = file.fileno()
            size = os.fstat(fileno).st_size
        except (AttributeError, OSError, ValueError) as error:
            raise exceptions.SendfileNotAvailableError("not a regular file") from error
        if count is None:
            count = max(size - offset, 0)
        sent = 0
        try:
            while sent < count:
                step = min(count - sent, SENDFILE_BYTES_MAX)
                done = await self._perform(
                    sock, SendfileOperation(sock.fileno(), fileno, offset + sent, step)
                )
                if done == 0:
                    break  # the file has become shorter
                sent += done
            return sent
        except OSError as error:
            raise sendfile_error(error, sent)
        finally:
            if sent > 0:
                os.lseek(fileno, offset + sent, os.SEEK_SET)


cdef object sendfile_error(object error, object sent):
    """What to tell the caller: before the first byte another way may still work."""
    import errno

    if sent == 0 and error.errno in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK):
        return exceptions.SendfileNotAvailableError("os.sendfile call failed")
    return error
