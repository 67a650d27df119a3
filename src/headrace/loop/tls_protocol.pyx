"""TLS as the transport below sees it: a protocol that is given ciphertext.

The states, and what happens when ciphertext comes in them, are asyncio.sslproto's, since programs
know them by heart: an end of the connection without close_notify is an eof_received() like any
other, a failed handshake never calls connection_made(), a shutdown that the peer does not answer
ends with TimeoutError.  Three things differ.  An alert that tells the peer why the handshake has
failed is sent; asyncio drops it, and the peer guesses.  What was written is encrypted when it can
be sent, not before: a reader that is slow costs the plaintext, once.  And what the peer sends
after close() is thrown away; in asyncio it ends the connection, and what was written with it.

TLS over one of our streams takes the bytes where they lie in the loop's buffer (`ByteSink`), and
gives its own without a detour.  Over anything else, TLS included, it is an ordinary protocol.
"""

import logging
import ssl
from asyncio import exceptions

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from headrace.loop.byte_sink cimport ByteSink
from headrace.loop.stream_writing cimport WritingSide
from headrace.loop.tls_engine cimport DirectEngine

cdef object logger = logging.getLogger("asyncio")

cdef tuple WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError)


cdef class TlsProtocol(ByteSink):
    @property
    def engine_name(self):
        return "openssl" if isinstance(self.engine, DirectEngine) else "ssl"

    # Names of asyncio.sslproto.SSLProtocol that programs are known to look at.

    @property
    def _loop(self):
        return self.loop

    @property
    def _transport(self):
        return self.wire

    @property
    def _app_protocol(self):
        return self.protocol

    @property
    def _sslobj(self):
        return self.engine.tls

    @property
    def _sslcontext(self):
        return self.extra["sslcontext"]

    # What the transport below calls.

    def connection_made(self, transport):
        self.wire = transport
        self.stream = transport if isinstance(transport, WritingSide) else None
        self.start_handshake()

    cdef bint calls_users(self) noexcept:
        return True

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        self.engine.feed(data, size)
        try:
            return self.advance()
        finally:
            self.engine.keep()

    def data_received(self, data):
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        self.take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def eof_received(self):
        """True if the wire is to stay open, until the program reads on."""
        self.eof_seen = True
        if self.loop._debug:
            logger.debug("%r received EOF", self)
        try:
            if self.state == TLS_HANDSHAKE:
                self.handshake_failed(ConnectionResetError())
            elif self.state == TLS_WRAPPED:
                self.state = TLS_FLUSHING
                if self.reading_paused:
                    return True
                self.flush()
            elif self.state == TLS_FLUSHING:
                self.flushed_ends = True
                self.pump()
            elif self.state == TLS_SHUTDOWN:
                self.shut_down()
        except Exception:
            self.wire.close()
            raise
        # What is still to be sent goes out although the peer sends no more, as in asyncio.
        return self.state == TLS_FLUSHING

    def connection_lost(self, exc):
        wire, protocol = self.wire, self.protocol
        self.closed = True
        self.lost_writes += 1
        self.drop_plaintext()
        if wire is not None:
            # Some ask after the end, in an access log.
            for name in ("peername", "sockname"):
                self.extra.setdefault(name, wire.get_extra_info(name))
        was_made = self.state != TLS_HANDSHAKE and self.told in (TOLD_MADE, TOLD_EOF)
        self.state = TLS_UNWRAPPED
        if self.stream is not None:
            # It stays until the kernel has let go of it, perhaps longer than the loop runs.
            wire.set_protocol(None)
        self.wire = self.stream = self.protocol = None
        self.wake_waiter(exc)
        self.cancel_timer()
        if was_made:
            # Not by call_soon(), as in asyncio: the wire below has waited its turn already.  If
            # the loop stops in this one, the callback would stay in its queue, and with it the
            # protocol, its transport and the context.
            self.told = TOLD_LOST
            protocol.connection_lost(exc)

    def pause_writing(self):
        self.wire_paused = True

    def resume_writing(self):
        self.wire_paused = False
        self.pump()

    cdef int advance(self) except -1:
        """There is new ciphertext."""
        if self.state == TLS_WRAPPED:
            return self.read_plaintext()
        if self.state == TLS_HANDSHAKE:
            return self.handshake()
        if self.state == TLS_FLUSHING:
            return self.flush()
        if self.state == TLS_SHUTDOWN:
            return self.shut_down()
        return 0

    cdef int send_output(self) except -1:
        """What OpenSSL has written by itself."""
        if not self.wire_paused and self.wire is not None and self.engine.has_output():
            self.wire.write(self.engine.take_output())
        return 0

    # The handshake.

    cdef int start_handshake(self) except -1:
        if self.loop._debug:
            logger.debug("%r starts SSL handshake", self)
            self.handshake_begun_s = self.loop.time()
        self.state = TLS_HANDSHAKE
        self.timer = self.loop.call_later(self.handshake_timeout_s, self._check_handshake_timeout)
        return self.handshake()

    def _check_handshake_timeout(self):
        if self.state == TLS_HANDSHAKE:
            self.fatal_error(
                ConnectionAbortedError(
                    f"SSL handshake is taking longer than {self.handshake_timeout_s} seconds: "
                    "aborting the connection"
                ),
                "Fatal error on transport",
            )

    cdef int handshake(self) except -1:
        try:
            self.engine.tls.do_handshake()
        except WANTS:
            return self.send_output()
        except ssl.SSLError as error:
            return self.handshake_failed(error)
        return self.handshake_done()

    cdef int handshake_done(self) except -1:
        tls = self.engine.tls
        self.cancel_timer()
        self.state = TLS_WRAPPED
        try:
            peer_certificate = tls.getpeercert()
        except Exception as error:
            return self.handshake_failed(error)
        if self.loop._debug:
            lasted_s = self.loop.time() - self.handshake_begun_s
            logger.debug("%r: SSL handshake took %.1f ms", self, lasted_s * 1e3)
        self.extra.update(
            peercert=peer_certificate, cipher=tls.cipher(), compression=tls.compression(),
            ssl_object=tls,
        )
        if self.told == TOLD_NOTHING:
            self.told = TOLD_MADE
            self.protocol.connection_made(self)
        self.wake_waiter(None)
        # The peer may have sent more with the end of its handshake, and we have to send ours.
        self.read_plaintext()
        return self.pump()

    cdef int handshake_failed(self, object error) except -1:
        self.cancel_timer()
        self.state = TLS_UNWRAPPED
        self.send_alert()
        self.fatal_error(
            error,
            "SSL handshake failed on verifying the certificate"
            if isinstance(error, ssl.CertificateError) else "SSL handshake failed",
        )
        return self.wake_waiter(error)

    cdef int send_alert(self) except -1:
        """RFC 8446 section 6.2: who ends the handshake should say why."""
        if self.stream is not None and not self.eof_seen and self.engine.has_output():
            self.stream.append(self.engine.take_output())
            self.stream.send_what_can_be()
        return 0

    cdef int wake_waiter(self, object error) except -1:
        waiter = self.waiter
        self.waiter = None
        if waiter is None or waiter.cancelled():
            return 0
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
        return 0

    cdef int cancel_timer(self) except -1:
        timer = self.timer
        self.timer = None
        if timer is not None:
            timer.cancel()
        return 0

    # The shutdown.

    cdef int start_shutdown(self) except -1:
        """By the program or close_notify; the wire's end may have begun the same already.

        That one has no timer, since the program may take its time.  So the timer says whether we
        have been here.
        """
        if self.state == TLS_UNWRAPPED:
            return 0
        self.closed = True
        if self.state == TLS_HANDSHAKE:
            return self.end(None)
        if self.timer is not None:
            return 0
        self.timer = self.loop.call_later(self.shutdown_timeout_s, self._check_shutdown_timeout)
        if self.state == TLS_SHUTDOWN:
            return 0
        self.state = TLS_FLUSHING
        return self.flush()

    def _check_shutdown_timeout(self):
        if self.state in (TLS_FLUSHING, TLS_SHUTDOWN):
            self.wire._force_close(exceptions.TimeoutError("SSL shutdown timed out"))

    cdef int flush(self) except -1:
        """Deliver what has come, send what was written; then shut down."""
        self.read_plaintext()
        if self.eof_seen and not self.closed and self.reading_paused:
            if self.engine.readable_max():
                # The program has paused in the middle of what has come; it will read on.
                return 0
        self.flushed_ends = True
        return self.pump()

    cdef int flushed(self) except -1:
        if self.state != TLS_FLUSHING or not self.flushed_ends:
            return 0
        self.state = TLS_SHUTDOWN
        return self.shut_down()

    cdef int shut_down(self) except -1:
        try:
            if not self.eof_seen:
                self.read_plaintext()
                self.engine.tls.unwrap()
        except WANTS:
            return self.send_output()
        except ssl.SSLError as error:
            return self.shutdown_done(error)
        self.send_output()
        self.tell_eof()
        return self.shutdown_done(None)

    cdef int shutdown_done(self, object error) except -1:
        self.cancel_timer()
        if error is not None:
            return self.fatal_error(error, "Fatal error on transport")
        if self.wire is not None:
            self.loop.call_soon(self.wire.close)
        return 0

    cdef int tell_eof(self) except -1:
        if self.told != TOLD_MADE:
            return 0
        self.told = TOLD_EOF
        try:
            if self.protocol.eof_received():
                logger.warning("returning true from eof_received() has no effect when using ssl")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.fatal_error(error, "Error calling eof_received()")
        return 0

    # The end.

    cdef int end(self, object error) except -1:
        self.state = TLS_UNWRAPPED
        if self.wire is not None:
            self.wire._force_close(error)
        return 0

    cdef int fatal_error(self, object error, str message) except -1:
        if self.wire is not None:
            self.wire._force_close(error)
        if isinstance(error, OSError):
            if self.loop._debug:
                logger.debug("%r: %s", self, message, exc_info=error)
        elif not isinstance(error, exceptions.CancelledError):
            self.loop.call_exception_handler({
                "message": message,
                "exception": error,
                "transport": self.wire,
                "protocol": self,
            })
        return 0

    # What the side above does.

    cdef int read_plaintext(self) except -1:
        raise NotImplementedError

    cdef int pump(self) except -1:
        raise NotImplementedError

    cdef int drop_plaintext(self) except -1:
        raise NotImplementedError
