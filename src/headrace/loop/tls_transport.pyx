"""TLS as the program sees it: a transport.

Writes are gathered.  When the turn ends, what is there is encrypted into as few records as hold
it and goes out in one send; beyond `GATHER_BYTES_MAX` that does not wait for the turn's end.
While the transport below is full nothing is encrypted.

Reads take all that has come, as one bytes object of the exact size, or straight into the protocol's
buffer.  Ciphertext that comes while reading is paused is kept as it is, and beyond the read limit
the transport below is paused too.
"""

import asyncio
import warnings
from asyncio import constants, sslproto, transports

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from headrace.core.ready_queue cimport ready_push
from headrace.loop.connection cimport STEP_FLUSH
from headrace.loop.tls_engine cimport (
    PROGRESS_CLOSED,
    PROGRESS_DONE,
    PROGRESS_STARVED,
    Progress,
    make_engine,
)
from headrace.loop.tls_protocol cimport (
    TLS_FLUSHING,
    TLS_HANDSHAKE,
    TLS_UNWRAPPED,
    TLS_WRAPPED,
    TOLD_MADE,
    TOLD_NOTHING,
    TlsProtocol,
)

cdef extern from "Python.h":
    PyObject **_PyObject_GetDictPtr(object instance)
    void Py_CLEAR(PyObject *reference)
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    object PyObject_CallMethodOneArg(object target, object name, object argument)

cdef str DATA_RECEIVED = "data_received"

# So much is encrypted at once, and sent.
cdef Py_ssize_t GATHER_BYTES_MAX = 64 * 1024
# So much is not gathered but encrypted and sent at once, the first time in a turn: it is in the
# processor's cache still.  Measured with 100 connections and 8 KiB on epoll: 11.0 us a request
# instead of 15.2.
cdef Py_ssize_t AT_ONCE_BYTES = 4 * 1024
# One data_received() brings no more.
cdef Py_ssize_t READ_BYTES_MAX = 256 * 1024


class Face(transports._FlowControlMixin):
    """What isinstance() sees: asyncio.Transport, with flow control as loop.sendfile() asks."""

    __slots__ = ()


# CPython's own tests look for "ssl" in the name, and so may programs.
Face.__name__ = Face.__qualname__ = "SSLTransport"


def tls_transport(
    loop, protocol, context, waiter, server_side, server_hostname, handshake_timeout_s,
    shutdown_timeout_s, call_connection_made, kind,
):
    """The protocol to put over a connection, which is also the transport of *protocol*."""
    cdef TlsTransport transport = TlsTransport.__new__(TlsTransport)
    name = server_hostname if server_hostname and not server_side else None
    transport.loop = loop
    transport.waiter = waiter
    transport.handshake_timeout_s = positive(
        "ssl_handshake_timeout", handshake_timeout_s, constants.SSL_HANDSHAKE_TIMEOUT
    )
    transport.shutdown_timeout_s = positive(
        "ssl_shutdown_timeout", shutdown_timeout_s, constants.SSL_SHUTDOWN_TIMEOUT
    )
    transport.extra = {"sslcontext": context}
    transport.engine = make_engine(context, server_side, name, kind)
    transport.told = TOLD_NOTHING if call_connection_made else TOLD_MADE
    transport.set_protocol(protocol)
    transport.closed = False
    return transport


cdef object positive(str name, object value, object default):
    if value is None:
        return default
    if value <= 0:
        raise ValueError(f"{name} should be a positive number, got {value}")
    return value


cdef class TlsTransport(TlsProtocol):
    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    def __cinit__(self):
        cdef PyObject **attributes = _PyObject_GetDictPtr(self)
        # As in Connection: Python makes a dict when one is needed.
        Py_CLEAR(attributes[0])
        self.closed = True  # until it is made
        self.high_water = constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE * 1024
        self.low_water = self.high_water // 4
        self.read_high_water = constants.FLOW_CONTROL_HIGH_WATER_SSL_READ * 1024
        self.read_low_water = self.read_high_water // 4

    @property
    def __class__(self):
        # The slots of asyncio.Transport cannot be joined with a native base; isinstance() holds.
        return Face

    def __repr__(self):
        state = ("unwrapped", "handshake", "wrapped", "flushing", "shutdown")[<int>self.state]
        return (
            f"<TlsTransport {state}{' closing' if self.closed else ''} "
            f"engine={self.engine_name} write_buffer_size={self.buffered} over {self.wire!r}>"
        )

    def __del__(self):
        if not self.closed:
            self.closed = True
            warnings.warn(
                f"unclosed transport <asyncio TLS transport at {id(self):#x}>", ResourceWarning,
                source=self,
            )

    cdef int run(self, int step, unsigned int flags) except -1:
        """The turn ends: what was gathered goes out."""
        self.dirty = False
        if self.stream is None:
            return self.pump()
        entered = self.stream.enter_context()
        try:
            return self.pump()
        finally:
            if self.stream is not None:
                self.stream.leave_context(entered)

    # asyncio has two objects, and programs go from one to the other.

    @property
    def _ssl_protocol(self):
        return self

    @property
    def _app_transport(self):
        return self

    @property
    def _protocol_paused(self):
        return self.writing_paused

    def _test__append_write_backlog(self, data):
        """For CPython's own tests."""
        self.append_quietly(data)

    # What a protocol may ask.

    def get_extra_info(self, name, default=None):
        if name in self.extra:
            return self.extra[name]
        return default if self.wire is None else self.wire.get_extra_info(name, default)

    def set_protocol(self, protocol):
        self.protocol = protocol
        self.is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closed

    # Reading.

    def is_reading(self):
        return not self.reading_paused

    def pause_reading(self):
        self.reading_paused = True

    def resume_reading(self):
        if self.reading_paused:
            self.reading_paused = False
            self.loop.call_soon(self._read_on)

    def _read_on(self):
        if not self.reading_paused and self.state != TLS_HANDSHAKE:
            self.advance()
            # What was kept has been read: its memory goes.
            self.engine.keep()

    cdef bint may_read(self) noexcept:
        return not self.reading_paused and (
            self.state == TLS_WRAPPED or (self.state == TLS_FLUSHING and not self.flushed_ends)
        )

    cdef int read_plaintext(self) except -1:
        """Deliver all that has come, unless reading is paused."""
        try:
            if self.flushed_ends:
                self.discard()
            elif self.may_read():
                if self.is_buffered:
                    self.read_buffered()
                else:
                    self.read_bytes()
                if self.starved or self.engine.has_output():
                    # New keys were asked for, or OpenSSL had to read before it could write.
                    self.pump()
            return self.control_wire_reading()
        except Exception as error:
            return self.fatal_error(error, "Fatal error on SSL protocol")
        except BaseException:
            # KeyboardInterrupt and its like go through the loop, which may be run again; nobody
            # would come for the rest of what is here.
            self.loop.call_soon(self._read_on)
            raise

    cdef int read_bytes(self) except -1:
        cdef Progress progress = PROGRESS_DONE
        cdef Py_ssize_t size
        while progress == PROGRESS_DONE and self.may_read() and not self.is_buffered:
            size = self.engine.readable_max()
            if size == 0:
                return 0
            data = self.next_bytes(min(size, READ_BYTES_MAX))
            progress = self.engine.progress
            if data is not None:
                PyObject_CallMethodOneArg(self.protocol, DATA_RECEIVED, data)
        if progress == PROGRESS_CLOSED and self.state != TLS_UNWRAPPED:
            self.tell_eof()
            self.start_shutdown()
        elif self.is_buffered and self.may_read():
            return self.read_buffered()
        return 0

    cdef bytes next_bytes(self, Py_ssize_t size):
        """Plaintext of *size* bytes or what there is; None if there is none."""
        cdef PyObject *made = new_bytes(NULL, size)
        cdef Py_ssize_t count = 0
        try:
            count = self.fill(PyBytes_AS_STRING(<object>made), size)
        finally:
            if count < size:
                _PyBytes_Resize(&made, count)
            data = <bytes>made
            Py_DECREF(data)
        return data if count else None

    cdef Py_ssize_t fill(self, char *into, Py_ssize_t size) except -1:
        """Read until *size* is reached or nothing is left, for which the engine has the reason."""
        cdef Py_ssize_t filled = 0
        cdef Py_ssize_t count
        while filled < size:
            count = self.engine.read(into + filled, size - filled)
            filled += count
            if count == 0 or self.engine.readable_max() == 0:
                break
        return filled

    cdef int read_buffered(self) except -1:
        cdef Progress progress = PROGRESS_DONE
        cdef Py_ssize_t count
        while progress == PROGRESS_DONE and self.may_read() and self.is_buffered:
            if self.engine.readable_max() == 0:
                return 0
            count = self.fill_buffer(self.protocol.get_buffer(self.engine.waiting()))
            progress = self.engine.progress
            if count:
                self.protocol.buffer_updated(count)
        if progress == PROGRESS_CLOSED and self.state != TLS_UNWRAPPED:
            self.tell_eof()
            self.start_shutdown()
        elif not self.is_buffered and self.may_read():
            return self.read_bytes()
        return 0

    cdef Py_ssize_t fill_buffer(self, object buffer) except -1:
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            if view.len == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            return self.fill(<char *>view.buf, view.len)
        finally:
            # At once: the protocol may resize its buffer, which a view that is held forbids.
            PyBuffer_Release(&view)

    cdef int discard(self) except -1:
        """After close() what comes is thrown away: until the peer knows, it may go on sending.

        In asyncio it ends the connection with an error, and what was written is lost.
        """
        cdef char[4096] scrap
        while self.engine.readable_max() and self.engine.read(scrap, sizeof(scrap)):
            pass
        return 0

    cdef int control_wire_reading(self) except -1:
        cdef Py_ssize_t size = self.engine.waiting()
        if self.wire is None:
            return 0
        if size >= self.read_high_water and not self.wire_reading_paused and size:
            self.wire_reading_paused = True
            self.wire.pause_reading()
        elif size <= self.read_low_water and self.wire_reading_paused:
            self.wire_reading_paused = False
            self.wire.resume_reading()
        return 0

    def set_read_buffer_limits(self, high=None, low=None):
        self.read_high_water, self.read_low_water = sslproto.add_flowcontrol_defaults(
            high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_READ
        )
        self.control_wire_reading()

    def get_read_buffer_limits(self):
        return self.read_low_water, self.read_high_water

    def get_read_buffer_size(self):
        return self.engine.waiting()

    # Writing.

    def can_write_eof(self):
        return False

    def write_eof(self):
        raise NotImplementedError("TLS has no half-close")

    def write(self, data):
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"data: expecting a bytes-like instance, got {type(data).__name__}"
                )
            # The caller may change it as soon as we return.
            data = bytes(data)
        if data:
            self.append(data)

    def writelines(self, list_of_data):
        data = b"".join(list_of_data)
        if data:
            self.append(data)

    cdef int append(self, bytes data) except -1:
        if self.state != TLS_WRAPPED and self.state != TLS_HANDSHAKE:
            if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                sslproto.logger.warning("SSL connection is closed")
            self.lost_writes += 1
            return 0
        self.append_quietly(data)
        if self.state == TLS_HANDSHAKE:
            return self.control_writing()
        if self.buffered > GATHER_BYTES_MAX or self.buffered > self.high_water:
            # Nothing is gained by waiting for more, and the kernel may take all of it.
            return self.pump()
        if self.buffered >= AT_ONCE_BYTES and self.pumped_turn != self.loop.turn_number():
            return self.pump()
        return self.make_dirty()

    cdef int append_quietly(self, bytes data) except -1:
        if self.chunks is None:
            self.chunks = []
        self.chunks.append(data)
        self.buffered += PyBytes_GET_SIZE(data)
        return 0

    cdef int make_dirty(self) except -1:
        if self.dirty:
            return 0
        if self.loop._closed:
            raise RuntimeError("Event loop is closed")
        if self.stream is None or self.loop._thread_id is None:
            # The transport below has its own turn's end; or the loop is not running, and perhaps
            # never will again.
            self.pump()
            self.loop._model.flush()
            return 0
        self.dirty = True
        return ready_push(self.loop.flushes, self, STEP_FLUSH, 0)

    cdef int pump(self) except -1:
        """Encrypt and send until nothing is left or the transport below is full."""
        try:
            self.encrypt()
            self.send_output()
        except Exception as error:
            return self.fatal_error(error, "Fatal error on SSL protocol")
        self.control_writing()
        return 0 if self.chunks else self.flushed()

    cdef int encrypt(self) except -1:
        self.starved = False
        self.pumped_turn = self.loop.turn_number()
        while (
            self.chunks and not self.wire_paused and not self.starved
            and (self.state == TLS_WRAPPED or self.state == TLS_FLUSHING)
        ):
            self.encrypt_some(gather=False)
        return 0

    cdef int encrypt_some(self, bint gather) except -1:
        cdef bytes plaintext = self.some_plaintext()
        cdef Py_ssize_t size = min(PyBytes_GET_SIZE(plaintext) - self.offset, GATHER_BYTES_MAX)
        cdef bytes output = self.engine.write(PyBytes_AS_STRING(plaintext) + self.offset, size)
        if self.engine.progress == PROGRESS_STARVED:
            self.starved = True
        else:
            self.drop_encrypted(size)
        if output is None:
            return 0
        if self.stream is None:
            self.wire.write(output)
            return 0
        return self.stream.append(output) if gather else self.stream.send_now(output)

    cdef bytes some_plaintext(self):
        """The first chunk, with those that follow if they fit into one encryption with it."""
        cdef Py_ssize_t total = -self.offset
        cdef Py_ssize_t count = 0
        cdef bytes data
        if len(self.chunks) > 1:
            for chunk in self.chunks:
                total += PyBytes_GET_SIZE(chunk)
                if count and total > GATHER_BYTES_MAX:
                    break
                count += 1
            if count > 1:
                data = b"".join(self.chunks[:count])
                self.chunks[:count] = [data]
        return self.chunks[0]

    cdef int drop_encrypted(self, Py_ssize_t size) except -1:
        self.buffered -= size
        self.offset += size
        if self.offset < PyBytes_GET_SIZE(self.chunks[0]):
            return 0
        self.offset = 0
        if len(self.chunks) == 1:
            # Not cleared but let go: an idle connection keeps no empty list.
            self.chunks = None
        else:
            del self.chunks[0]
        return 0

    cdef int drop_plaintext(self) except -1:
        self.chunks = None
        self.offset = self.buffered = 0
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        self.high_water, self.low_water = sslproto.add_flowcontrol_defaults(
            high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE
        )
        self.control_writing()

    def get_write_buffer_limits(self):
        return self.low_water, self.high_water

    def get_write_buffer_size(self):
        return self.buffered

    cdef int control_writing(self) except -1:
        if self.buffered > self.high_water and not self.writing_paused:
            self.writing_paused = True
            return self.tell("pause_writing")
        if self.buffered <= self.low_water and self.writing_paused:
            self.writing_paused = False
            return self.tell("resume_writing")
        return 0

    cdef int tell(self, str name) except -1:
        if self.protocol is None:
            return 0
        try:
            getattr(self.protocol, name)()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.loop.call_exception_handler({
                "message": f"protocol.{name}() failed",
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            })
        return 0

    # Ending.

    def close(self):
        """What was written is still sent; the peer is told; nothing more is read."""
        if not self.closed:
            self.closed = True
            self.start_shutdown()

    def abort(self):
        self.closed = True
        if self.chunks and self.state == TLS_WRAPPED and self.stream is not None:
            self.send_what_can_be()
        self._force_close(None)

    cdef int send_what_can_be(self) except -1:
        """What the kernel takes at once goes out, as a write() in asyncio would have."""
        if self.stream.lost or self.wire_paused:
            return 0
        try:
            self.encrypt_some(gather=True)
        except Exception as error:
            return self.fatal_error(error, "Fatal error on SSL protocol")
        return self.stream.send_what_can_be()

    def _force_close(self, error):
        self.closed = True
        self.end(error)
