"""The listener: a listening socket, its multishot accept, and what becomes of connections."""

from asyncio import constants

from headrace.core.operation cimport STATE_IDLE, AcceptOperation
from headrace.kernel cimport socket as socket_h
from headrace.kernel.errno cimport ECANCELED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from headrace.kernel.errors cimport os_error
from headrace.kernel.unistd cimport close
from headrace.loop.engine cimport LoopCore
from headrace.loop.stream_transport cimport make_transport

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


cdef class Listener(AcceptOperation):
    """Accepts for one listening socket until stopped.

    Out of descriptors or memory, it says so, waits a second and tries again, as asyncio does: a
    server that fails for want of descriptors recovers when there are some.  It says so once, not
    at each vain try, until it has accepted again.
    """

    cdef LoopCore loop
    cdef object sock
    cdef object protocol_factory
    cdef object tls          # how to wrap a connection, or None
    cdef object server
    cdef object context
    cdef object retry        # the timer of the next try
    cdef int error_reported   # of the accept that failed last, until one succeeds
    cdef double refusal_reported_s
    cdef readonly bint stopped

    def __init__(self, loop, sock, protocol_factory, server, tls):
        AcceptOperation.__init__(self, sock.fileno())
        self.owned = True
        self.loop = loop
        self.sock = sock
        self.protocol_factory = protocol_factory
        self.server = server
        self.tls = tls
        self.context = PyContext_CopyCurrent()
        self.refusal_reported_s = -1e9
        self.disable_nagle()

    cdef int disable_nagle(self) noexcept:
        """On the listener, once: tcp(7) connections inherit it."""
        cdef int on = 1
        socket_h.setsockopt(
            self.fd, socket_h.IPPROTO_TCP, socket_h.TCP_NODELAY, &on, sizeof(on)
        )
        return 0

    def start(self):
        self.retry = None
        if not self.stopped and self.state == STATE_IDLE:
            self.loop.claim(self.fd)
            self.loop._model.start(self)

    def stop(self):
        """Stop and close the listening socket; connections made so far live on."""
        self.stopped = True
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.loop._model.stop(self)
        # The kernel must let go of the socket before close(), or it would go on listening.
        self.loop._model.flush()
        self.loop._model.forget(self.fd)
        self.sock.close()

    cdef int completed(self, int result, unsigned int flags) except -1:
        if result >= 0:
            self.error_reported = 0
            if self.stopped:
                close(result)
                return 0
            return self.accepted(result)
        if self.stopped or result == -ECANCELED:
            return 0
        if self.error_reported != result:
            self.error_reported = result
            self.report(os_error(-result), "socket.accept() out of system resource"
                        if -result in (EMFILE, ENFILE, ENOBUFS, ENOMEM) else "Accept failed")
        self.retry = self.loop.call_later(constants.ACCEPT_RETRY_DELAY, self.start)
        return 0

    cdef int accepted(self, int fd) except -1:
        if not self.model_can_watch(fd):
            close(fd)
            return 0
        PyContext_Enter(self.context)
        try:
            protocol = self.protocol_factory()
            if self.tls is None:
                make_transport(self.loop, fd, None, protocol, self.context, self.server)
            else:
                make_transport(
                    self.loop, fd, None, self.tls(protocol), self.context, self.server
                )
        except (SystemExit, KeyboardInterrupt):
            close(fd)
            raise
        except BaseException as error:
            close(fd)
            self.report(error, "Error on transport creation for incoming connection")
        finally:
            PyContext_Exit(self.context)
        return 0

    cdef bint model_can_watch(self, int fd) except -1:
        """A connection beyond the model's reach is refused, and said so once a second."""
        cdef object limit = self.loop._model.capabilities.get("descriptor_max")
        cdef double now
        if limit is None or fd <= limit:
            return True
        now = self.loop.time()
        if now - self.refusal_reported_s >= constants.ACCEPT_RETRY_DELAY:
            self.refusal_reported_s = now
            self.report(
                OSError(
                    EMFILE,
                    f"the {self.loop.model} model cannot watch descriptor {fd}, its limit is "
                    f"{limit}: connection refused; use poll, epoll or uring",
                ),
                "Connection refused",
            )
        return False

    cdef int report(self, object error, str message) except -1:
        self.loop.call_exception_handler({
            "message": message, "exception": error, "socket": self.sock,
        })
        return 0
