"""A connection: what a transport is before it reads or writes.

Its descriptor and where it came from, its protocol and the context of the callbacks, what
get_extra_info() knows, and how it ends: connection_lost() comes in the next turn, as in asyncio,
and the descriptor is closed after it when no operation is in flight any more.  A completion model
could otherwise write into memory that was freed, or into a connection that has inherited the
descriptor's number.  Nearly always nothing is: the turn has begun with a wait, which handed over
what lose() cancelled and took the answers.
"""

import asyncio
import logging
import socket
import warnings
from asyncio import constants, transports, trsock

from cpython.object cimport PyObject
from libc.string cimport memcpy

from headrace.core.ready_queue cimport Runnable, ready_push
from headrace.kernel cimport socket as socket_h
from headrace.kernel.address cimport address_as_python
from headrace.kernel.unistd cimport close

cdef object logger = logging.getLogger("asyncio")

cdef extern from "Python.h":
    PyObject **_PyObject_GetDictPtr(object instance)
    void Py_CLEAR(PyObject *reference)
    object PyContext_Copy(object context)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyObject_CallMethodOneArg(object target, object name, object argument)

cdef str CONNECTION_MADE = "connection_made"
cdef str CONNECTION_LOST = "connection_lost"


class Face(transports._FlowControlMixin):
    """What isinstance() sees: asyncio.Transport, with flow control as loop.sendfile() asks."""

    __slots__ = ()


Face.__name__ = Face.__qualname__ = "StreamTransport"


cdef class Connection(Runnable):
    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    def __cinit__(self):
        cdef PyObject **attributes = _PyObject_GetDictPtr(self)
        self.fd = -1
        # Cython makes the dict at once.  Python makes one when it is needed: an idle connection
        # keeps none.
        Py_CLEAR(attributes[0])

    @property
    def __class__(self):
        # The slots of asyncio.Transport cannot be joined with a native base; isinstance() holds.
        return Face

    def __del__(self):
        if self.fd >= 0:
            try:
                warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            finally:
                # Also where warnings are errors.
                self.close_descriptor()

    cdef int run(self, int step, unsigned int flags) except -1:
        return self.begin() if step == STEP_BEGIN else self.finish()

    # Beginning.

    cdef int own(self, int fd, bint exclusive) except -1:
        """*fd* is ours from here on, and connection_made() comes in the next turn.

        *exclusive*: add_reader() and its like refuse the number meanwhile.  If this raises, the
        descriptor is still the caller's to close.
        """
        self.loop.claim(fd)
        if exclusive:
            self.loop.transports.set(fd, self)
        try:
            ready_push(self.loop.ready, self, STEP_BEGIN, 0)
        except BaseException:
            if exclusive:
                self.loop.transports.remove(fd)
            raise
        self.fd = fd
        return 0

    cdef int begin(self) except -1:
        """connection_made(), then reading, then the waiter: in asyncio's order."""
        context = PyContext_Copy(self.base_context)
        PyContext_Enter(context)
        try:
            PyObject_CallMethodOneArg(self.protocol, CONNECTION_MADE, self)
        except (SystemExit, KeyboardInterrupt):
            # The loop may be run again, and this connection with it.
            self.begun()
            raise
        except BaseException as error:
            self.report(error, "Exception in callback connection_made()")
        finally:
            PyContext_Exit(context)
        return self.begun()

    cdef int begun(self) except -1:
        if not self.closing:
            self.start_operations()
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.cancelled():
            waiter.set_result(None)
        return 0

    cdef int start_operations(self) except -1:
        """What the connection does from its beginning on, unasked."""
        return 0

    # What a protocol may ask.

    def get_extra_info(self, name, default=None):
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name == "socket":
            return self.socket_object(default)
        if name == "peername":
            return self.peer_name()
        if name == "sockname":
            return self.socket_name()
        return default

    cdef object socket_object(self, object default):
        """Made when first asked for, and then the same: programs compare it with itself."""
        sock = self._sock
        if sock is None:
            return default
        made = trsock.TransportSocket(sock)
        self.extra = {**(self.extra or {}), "socket": made}
        return made

    @property
    def _sock(self):
        if self.sock is None and self.fd >= 0:
            sock = socket.socket(fileno=self.fd)
            # Non-blocking as asyncio's users know it, and without a call that would make the
            # descriptor so: how it is, is the model's business.
            self.sock = socket.socket(
                sock.family, sock.type | socket.SOCK_NONBLOCK, sock.proto, fileno=sock.detach()
            )
        return self.sock

    @property
    def _sock_fd(self):
        return self.fd

    @property
    def _loop(self):
        return self.loop

    def set_protocol(self, protocol):
        self.protocol = protocol
        self.is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closing

    cdef int remember_peer(self) noexcept:
        """Ask now: after a reset the kernel no longer knows."""
        cdef socket_h.sockaddr_storage storage
        cdef socket_h.socklen_t length = sizeof(storage)
        if socket_h.getpeername(self.fd, <socket_h.sockaddr *>&storage, &length) == 0:
            if length <= sizeof(self.peer):
                memcpy(self.peer, &storage, length)
                self.peer_length = <unsigned char>length
        return 0

    cdef int remember_names(self) except -1:
        """Some ask after the end, in an access log; then the kernel would not know."""
        self.extra = {"sockname": self.socket_name(), **(self.extra or {})}
        return 0

    cdef object peer_name(self):
        if self.peer_length:
            return address_as_python(<socket_h.sockaddr *>self.peer, self.peer_length)
        try:
            return self._sock.getpeername()
        except (OSError, AttributeError):
            return None

    cdef object socket_name(self):
        cdef socket_h.sockaddr_storage storage
        cdef socket_h.socklen_t length = sizeof(storage)
        if self.fd < 0 or socket_h.getsockname(
            self.fd, <socket_h.sockaddr *>&storage, &length
        ) < 0:
            return None
        return address_as_python(<socket_h.sockaddr *>&storage, length)

    # Telling the protocol.

    cdef bint enter_context(self) except -1:
        """Enter the context of the callbacks; False if this is inside one of them already."""
        if self.in_callback:
            return False
        if self.context is None:
            self.context = PyContext_Copy(self.base_context)
        PyContext_Enter(self.context)
        self.in_callback = True
        return True

    cdef int leave_context(self, bint entered) except -1:
        if entered:
            self.in_callback = False
            PyContext_Exit(self.context)
        return 0

    cdef str noun(self):
        """What this is, in the messages of errors."""
        return "socket transport"

    def _fatal_error(self, error, message="Fatal error on transport"):
        self.fatal_error(error, message)

    cdef int protocol_failed(self, object error, str message) except -1:
        """A callback for data or their end has raised *error*."""
        return self.fatal_error(error, message)

    cdef int fatal_error(self, object error, str message) except -1:
        if not isinstance(error, OSError):
            self.report(error, message)
        elif self.loop._debug:
            logger.debug("%r: %s", self, message, exc_info=error)
        self._force_close(error)
        return 0

    cdef int report(self, object error, str message) except -1:
        self.loop.call_exception_handler({
            "message": message,
            "exception": error,
            "transport": self,
            "protocol": self.protocol,
        })
        return 0

    # Lending the descriptor.

    def _lend(self):
        """Lend the descriptor to sock_sendfile(); a future that ends when the connection does.

        Until _take_back() the descriptor stays open, whatever happens to the connection: its
        number must not become another's while a send to it is under way.
        """
        if self.fd < 0 or self.lost:
            raise ConnectionAbortedError("the connection was closed")
        self.loop._model.lend(self.fd)
        self.loan = self.loop.create_future()
        return self.loan

    def _take_back(self):
        self.loan = None
        if self.lost:
            self.finish_if_quiet()

    # Ending.

    def abort(self):
        if not self.lost:
            self.send_what_can_be()
        self._force_close(None)

    cdef int send_what_can_be(self) except -1:
        """abort() drops what the kernel will not take at once, and no more."""
        return 0

    def _force_close(self, error):
        if not self.lost:
            self.drop_output()
            self.lose(error)

    cdef int drop_output(self) except -1:
        """Forget what was written and not yet sent."""
        return 0

    cdef int stop_operations(self) except -1:
        """Cancel what is in flight."""
        return 0

    cdef bint is_quiet(self) noexcept:
        """Has the kernel let go of the descriptor, and of all memory?"""
        return self.loan is None

    cdef int lose(self, object error) except -1:
        """The connection is over: connection_lost() will follow, once."""
        self.lost = True
        self.closing = True
        self.error = error
        if self.loan is not None and not self.loan.done():
            self.loan.set_result(None)
        self.stop_operations()
        if self.loop._closed:
            # Nothing will come up any more.
            self.close_descriptor()
            self.let_go()
            raise RuntimeError("Event loop is closed")
        return ready_push(self.loop.ready, self, STEP_FINISH, 0)

    cdef int finish(self) except -1:
        cdef bint entered = self.enter_context()
        try:
            self.remember_names()
            PyObject_CallMethodOneArg(self.protocol, CONNECTION_LOST, self.error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.report(error, "Exception in callback connection_lost()")
        finally:
            self.leave_context(entered)
            # Not after another wait: what is ready would be told twice in this turn.
            if self.is_quiet():
                self.release()
            else:
                self.loop.lingering.add(self)
        return 0

    cdef int finish_if_quiet(self) except -1:
        """An operation of a lost connection has ended: was it the last thing to wait for?"""
        if self in self.loop.lingering and self.is_quiet():
            self.loop.lingering.discard(self)
            self.release()
        return 0

    def _release(self):
        """The loop is closed: nothing is in flight any more, and nobody can be told."""
        self.close_descriptor()

    cdef int release(self) except -1:
        """Close the descriptor, and let go."""
        self.loop.transports.remove(self.fd)
        self.loop._model.forget(self.fd)
        self.close_descriptor()
        return self.let_go()

    cdef int close_descriptor(self) except -1:
        cdef int fd = self.fd
        self.fd = -1
        if self.sock is not None:
            self.sock.close()
        else:
            close(fd)
        return 0

    cdef int let_go(self) except -1:
        """Break the cycles, so that what belonged to the connection is freed now."""
        server = self.server
        self.server = None
        if self.waiter is not None and not self.waiter.done():
            # Lost before it began: whoever waits for the connection must not wait for ever.
            self.waiter.set_exception(self.error or ConnectionAbortedError("connection lost"))
        self.waiter = None
        self.protocol = None
        self.error = None
        if server is not None:
            self.loop._detach_from_server(server, self)
        return 0
