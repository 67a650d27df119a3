"""Stream transports: a connected TCP or Unix socket and its protocol.

Reading.  One multishot receive per connection; each piece of data is one data_received() with
bytes of their exact size.  pause_reading() cancels it; what still arrives until the model has
let go is held, since asyncio promises no data_received() after a pause.

Writing.  write() only gathers; at the end of the turn all that a connection has gathered goes
out in one send.  A write beyond the high-water mark goes out at once.  One send is in flight
per connection, which keeps the order.

Ending.  The descriptor is closed and connection_lost() called only when neither operation is in
flight any more: a completion model could otherwise write into memory that was freed, or into a
connection that has inherited the descriptor's number.
"""

import asyncio
import logging
import socket
from asyncio import constants, transports, trsock

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from headrace.core.operation cimport (
    STATE_IDLE, ReceiveOperation, SendOperation,
)
from headrace.core.ready_queue cimport Runnable, ready_push
from headrace.kernel cimport socket as socket_h
from headrace.kernel.address cimport address_as_python
from headrace.kernel.errno cimport ECANCELED
from headrace.kernel.errors cimport os_error
from headrace.kernel.unistd cimport close
from headrace.loop.engine cimport LoopCore
from headrace.models.contract cimport COMPLETED

import warnings

cdef object logger = logging.getLogger("asyncio")

cdef extern from "Python.h":
    object PyContext_Copy(object context)
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyObject_CallMethodNoArgs(object target, object name)
    object PyObject_CallMethodOneArg(object target, object name, object argument)


class Face(transports._FlowControlMixin):
    """What isinstance() sees: asyncio.Transport, with flow control as loop.sendfile() asks."""

    __slots__ = ()


Face.__name__ = Face.__qualname__ = "StreamTransport"

# The steps of a transport's life that wait for their turn in the ready queue.
cdef enum:
    STEP_BEGIN
    STEP_DELIVER
    STEP_FINISH
    STEP_FLUSH

# Pieces are joined up to this many bytes: one send of many pieces costs less than many sends,
# and copying this much costs less than the system call that it saves.
cdef size_t JOIN_BYTES_MAX = 256 * 1024
cdef size_t HIGH_WATER_DEFAULT = 64 * 1024
cdef int LOST_WRITES_LOG_THRESHOLD = 5

cdef str CONNECTION_MADE = "connection_made"
cdef str DATA_RECEIVED = "data_received"
cdef str EOF_RECEIVED = "eof_received"
cdef str CONNECTION_LOST = "connection_lost"


cdef class StreamReceive(ReceiveOperation):
    cdef int received(self, const char *data, int result) except -1:
        return self.transport.received(data, result)


cdef class StreamSend(SendOperation):
    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef StreamTransport transport = self.transport
        if transport.lost:
            return transport.finish_if_quiet()
        if transport.sent(result):
            return transport.pump()
        return 0


cdef StreamTransport make_transport(
    LoopCore loop, int fd, object sock, object protocol, object context, object server,
):
    """A transport for the connected descriptor *fd*; connection_made() comes in the next turn."""
    cdef StreamTransport transport = StreamTransport.__new__(StreamTransport)
    transport.loop = loop
    transport.fd = fd
    transport.sock = sock
    transport.base_context = context
    transport.server = server
    transport.high_water = HIGH_WATER_DEFAULT
    transport.low_water = HIGH_WATER_DEFAULT // 4
    transport.set_protocol(protocol)
    transport.remember_peer()
    if server is not None:
        loop._attach_to_server(server, transport)
    loop.transports.set(fd, transport)
    ready_push(loop.ready, transport, STEP_BEGIN, 0)
    return transport


cdef class StreamTransport(Runnable):
    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    def __cinit__(self):
        self.fd = -1

    @property
    def __class__(self):
        # The slots of asyncio.Transport cannot be joined with a native base; isinstance() holds.
        return Face

    def __repr__(self):
        parts = ["StreamTransport"]
        if self.lost and self.fd < 0:
            parts.append("closed")
        elif self.closing:
            parts.append("closing")
        parts.append(f"fd={self.fd}")
        if self.fd >= 0:
            parts.append("read=paused" if self.paused else "read=polling")
            parts.append(f"write_buffer_size={self.buffered}")
        return f"<{' '.join(parts)}>"

    def __del__(self):
        if self.fd >= 0:
            try:
                warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            finally:
                # Also where warnings are errors.
                self.close_descriptor()

    cdef int run(self, int step, unsigned int flags) except -1:
        if step == STEP_FLUSH:
            self.dirty = False
            return 0 if self.lost else self.pump()
        if step == STEP_BEGIN:
            return self.begin()
        if step == STEP_DELIVER:
            self.deliver_queued = False
            return self.deliver_held()
        return self.finish()

    # What a protocol may ask.

    def get_extra_info(self, name, default=None):
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name == "socket":
            sock = self._sock
            return default if sock is None else trsock.TransportSocket(sock)
        if name == "peername":
            return self.peer_name()
        if name == "sockname":
            return self.socket_name()
        return default

    @property
    def _sock(self):
        if self.sock is None and self.fd >= 0:
            self.sock = socket.socket(fileno=self.fd)
        return self.sock

    @property
    def _sock_fd(self):
        return self.fd

    @property
    def _loop(self):
        return self.loop

    @property
    def _protocol_paused(self):
        return self.protocol_paused

    def set_protocol(self, protocol):
        self.protocol = protocol
        self.is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closing

    def is_reading(self):
        return not self.closing and not self.paused

    def can_write_eof(self):
        return True

    cdef int remember_peer(self) noexcept:
        """Ask now: after a reset the kernel no longer knows."""
        cdef socket_h.sockaddr_storage storage
        cdef socket_h.socklen_t length = sizeof(storage)
        if socket_h.getpeername(self.fd, <socket_h.sockaddr *>&storage, &length) == 0:
            if length <= sizeof(self.peer):
                memcpy(self.peer, &storage, length)
                self.peer_length = <unsigned char>length
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

    # Beginning.

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
        if not self.closing and not self.paused:
            self.start_receiving()
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.cancelled():
            waiter.set_result(None)
        return 0

    cdef int start_receiving(self) except -1:
        if self.receive is None:
            self.receive = StreamReceive(self.fd)
            self.receive.owned = True
            self.receive.transport = self
        if self.receive.state != STATE_IDLE:
            return 0  # still being cancelled: its end starts it again
        try:
            return self.loop._model.start(self.receive)
        except OSError as error:
            self.report(error, f"Cannot read from {self!r}")
            return self.lose(error)

    # Reading.

    cdef object enter_context(self):
        if self.context is None:
            self.context = PyContext_Copy(self.base_context)
        PyContext_Enter(self.context)
        return self.context

    cdef int received(self, const char *data, int result) except -1:
        """A piece of data; or, without data, the end of the receive operation."""
        if self.lost:
            return self.finish_if_quiet()
        if data != NULL:
            if self.closing:
                return 0
            if self.paused or self.held is not None:
                self.hold(PyBytes_FromStringAndSize(data, result))
                return 0
            return self.deliver(data, result)
        if result == -ECANCELED:
            if not self.paused and not self.closing and not self.at_eof:
                return self.start_receiving()
            return 0
        if self.closing:
            return 0
        if self.paused or self.held is not None:
            # What came before the end comes before it for the protocol too.
            self.end_held = True
            self.end_result = result
            return 0
        return self.ended(result)

    cdef int ended(self, int result) except -1:
        if result < 0:
            return self.fatal_error(os_error(-result), "Fatal read error on socket transport")
        return self.deliver_eof()

    cdef int hold(self, bytes data) except -1:
        if self.held is None:
            self.held = []
        self.held.append(data)
        return 0

    cdef int deliver(self, const char *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken
        if not self.is_buffered:
            return self.deliver_bytes(PyBytes_FromStringAndSize(data, size))
        while size > 0 and not self.closing:
            if self.paused or not self.is_buffered:
                # Before all that is held already, which came later.
                rest = PyBytes_FromStringAndSize(data, size)
                self.held = [rest] if self.held is None else [rest, *self.held]
                return 0 if self.paused else self.queue_delivery()
            taken = self.deliver_buffered(data, size)
            if taken == 0:
                return 0
            data += taken
            size -= taken
        return 0

    cdef int deliver_bytes(self, object data) except -1:
        context = self.enter_context()
        try:
            PyObject_CallMethodOneArg(self.protocol, DATA_RECEIVED, data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal_error(error, "Fatal error: protocol.data_received() call failed.")
        finally:
            PyContext_Exit(context)
        return 0

    cdef Py_ssize_t deliver_buffered(self, const char *data, Py_ssize_t size) except -1:
        """One get_buffer() and buffer_updated(); the count of bytes taken, 0 if that failed."""
        cdef unsigned char[::1] target
        cdef Py_ssize_t taken
        cdef str failed = "get_buffer"
        context = self.enter_context()
        try:
            target = memoryview(self.protocol.get_buffer(-1)).cast("B")
            if target.shape[0] == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            taken = min(size, target.shape[0])
            memcpy(&target[0], data, taken)
            # The protocol may resize its buffer, which a view that is held forbids.
            target = None
            failed = "buffer_updated"
            self.protocol.buffer_updated(taken)
            return taken
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal_error(error, f"Fatal error: protocol.{failed}() call failed.")
            return 0
        finally:
            PyContext_Exit(context)

    cdef int deliver_held(self) except -1:
        """What came while reading was paused, unless it is paused again."""
        cdef list held
        while self.held and not self.paused and not self.closing:
            data = self.held.pop(0)
            held = self.held
            if not held:
                self.held = None
            self.deliver(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.held is None and not self.paused and not self.closing:
            if self.end_held:
                self.end_held = False
                return self.ended(self.end_result)
            if not self.at_eof:
                return self.start_receiving()
        return 0

    cdef int queue_delivery(self) except -1:
        if not self.deliver_queued:
            self.deliver_queued = True
            ready_push(self.loop.ready, self, STEP_DELIVER, 0)
        return 0

    cdef int deliver_eof(self) except -1:
        self.at_eof = True
        if self.loop._debug:
            logger.debug("%r received EOF", self)
        keep_open = False
        context = self.enter_context()
        try:
            keep_open = PyObject_CallMethodNoArgs(self.protocol, EOF_RECEIVED)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return self.fatal_error(error, "Fatal error: protocol.eof_received() call failed.")
        finally:
            PyContext_Exit(context)
        if not keep_open:
            self.close()
        return 0

    def pause_reading(self):
        if self.closing or self.paused:
            return
        self.paused = True
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.loop._debug:
            logger.debug("%r pauses reading", self)

    def resume_reading(self):
        if self.closing or not self.paused:
            return
        self.paused = False
        if self.held is not None or self.end_held:
            self.queue_delivery()
        elif not self.at_eof and self.receive is not None:
            self.start_receiving()
        elif self.receive is None:
            self.queue_delivery()
        if self.loop._debug:
            logger.debug("%r resumes reading", self)

    # Writing.

    def write(self, data):
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"data argument must be a bytes-like object, not {type(data).__name__!r}"
                )
            # The caller may change it as soon as we return.
            data = bytes(data)
        if self.may_write() and data:
            self.append(data)

    def writelines(self, list_of_data):
        data = b"".join(list_of_data)
        if self.may_write() and data:
            self.append(data)

    cdef bint may_write(self) except -1:
        """Raise where a write is a mistake; False where it is too late."""
        if self.eof_asked:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if self.lost:
            if self.lost_writes >= LOST_WRITES_LOG_THRESHOLD:
                logger.warning("socket.send() raised exception.")
            self.lost_writes += 1
            return False
        return True

    cdef int append(self, bytes data) except -1:
        if self.chunks is None:
            self.chunks = []
        self.chunks.append(data)
        self.buffered += PyBytes_GET_SIZE(data)
        if self.send is not None and self.send.state != STATE_IDLE:
            return self.maybe_pause_protocol()
        if self.buffered > self.high_water:
            # Nothing is gained by waiting for more, and the kernel may take all of it.
            self.pump()
            return self.maybe_pause_protocol()
        return self.make_dirty()

    cdef int make_dirty(self) except -1:
        if self.dirty:
            return 0
        if self.loop._thread_id is None:
            # The loop is not running, and perhaps never will again.
            self.pump()
            self.loop._model.flush()
            return 0
        self.dirty = True
        return ready_push(self.loop.flushes, self, STEP_FLUSH, 0)

    cdef int load(self) except -1:
        """Give the send operation the next bytes; 0 if there are none."""
        cdef size_t total = 0
        cdef Py_ssize_t count = 0
        cdef bytes data
        if self.send.source is not None:
            return 1
        if not self.chunks:
            return 0
        for chunk in self.chunks:
            total += PyBytes_GET_SIZE(chunk)
            if count and total > JOIN_BYTES_MAX:
                break
            count += 1
        data = self.chunks[0] if count == 1 else b"".join(self.chunks[:count])
        if count == len(self.chunks):
            # Not cleared but let go: an idle connection keeps no empty list.
            self.chunks = None
        else:
            del self.chunks[:count]
        self.send.source = data
        self.send.memory = PyBytes_AS_STRING(data)
        self.send.length = PyBytes_GET_SIZE(data)
        return 1

    cdef int pump(self) except -1:
        """Send until nothing is left or the kernel has to be waited for."""
        if self.send is None:
            self.send = StreamSend(self.fd)
            self.send.owned = True
            self.send.transport = self
        while not self.lost and self.send.state == STATE_IDLE:
            if not self.load():
                return self.drained()
            try:
                if self.loop._model.start(self.send) != COMPLETED:
                    return 0
            except OSError as error:
                return self.fatal_error(error, "Fatal write error on socket transport")
            if not self.sent(self.send.result):
                return 0
        return 0

    cdef int sent(self, int result) except -1:
        """Account for a send; 0 if it failed and the connection is lost."""
        if result < 0:
            self.fatal_error(os_error(-result), "Fatal write error on socket transport")
            return 0
        self.buffered -= result
        if <size_t>result == self.send.length:
            self.send.source = None
        else:
            self.send.memory += result
            self.send.length -= result
        self.maybe_resume_protocol()
        return 1

    cdef int drained(self) except -1:
        """Everything written has been taken by the kernel."""
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.closing:
            return 0 if self.lost else self.lose(None)
        if self.eof_asked:
            socket_h.shutdown(self.fd, socket_h.SHUT_WR)
        return 0

    def write_eof(self):
        if self.closing or self.eof_asked:
            return
        self.eof_asked = True
        if self.buffered == 0:
            socket_h.shutdown(self.fd, socket_h.SHUT_WR)

    def get_write_buffer_size(self):
        return self.buffered

    def get_write_buffer_limits(self):
        return self.low_water, self.high_water

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = HIGH_WATER_DEFAULT if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_water = high
        self.low_water = low
        self.maybe_pause_protocol()

    cdef int maybe_pause_protocol(self) except -1:
        if self.buffered <= self.high_water or self.protocol_paused:
            return 0
        self.protocol_paused = True
        return self.tell_protocol("pause_writing")

    cdef int maybe_resume_protocol(self) except -1:
        if not self.protocol_paused or self.buffered > self.low_water:
            return 0
        self.protocol_paused = False
        return self.tell_protocol("resume_writing")

    cdef int tell_protocol(self, str name) except -1:
        try:
            getattr(self.protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.report(error, f"protocol.{name}() failed")
        return 0

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.empty_waiter = self.loop.create_future()
        if self.buffered == 0:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None

    # Ending.

    def close(self):
        if self.closing:
            return
        self.closing = True
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.buffered == 0:
            self.lose(None)

    def abort(self):
        self._force_close(None)

    def _force_close(self, error):
        if self.lost:
            return
        self.chunks = None
        self.buffered = 0
        self.closing = True
        self.lose(error)

    def _fatal_error(self, error, message="Fatal error on transport"):
        self.fatal_error(error, message)

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

    cdef int lose(self, object error) except -1:
        """The connection is over: connection_lost() will follow, once."""
        self.lost = True
        self.closing = True
        self.error = error
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.send is not None:
            self.loop._model.stop(self.send)
        return self.finish_if_quiet()

    cdef int finish_if_quiet(self) except -1:
        if self.lost_queued:
            return 0
        if self.receive is not None and self.receive.state != STATE_IDLE:
            return 0
        if self.send is not None and self.send.state != STATE_IDLE:
            return 0
        self.lost_queued = True
        return ready_push(self.loop.ready, self, STEP_FINISH, 0)

    cdef int finish(self) except -1:
        context = self.enter_context()
        try:
            PyObject_CallMethodOneArg(self.protocol, CONNECTION_LOST, self.error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.report(error, "Exception in callback connection_lost()")
        finally:
            PyContext_Exit(context)
            self.loop.transports.remove(self.fd)
            self.loop._model.forget(self.fd)
            self.close_descriptor()
            self.let_go()
        return 0

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
        self.chunks = None
        self.held = None
        if self.receive is not None:
            self.receive.transport = None
            self.receive = None
        if self.send is not None:
            self.send.transport = None
            self.send.source = None
            self.send = None
        if server is not None:
            self.loop._detach_from_server(server, self)
        return 0


def stream_transport(LoopCore loop, sock, protocol, waiter, extra, server):
    """A transport for *sock*, which is connected and non-blocking and is now the transport's."""
    cdef StreamTransport transport = make_transport(
        loop, sock.fileno(), sock, protocol, PyContext_CopyCurrent(), server
    )
    transport.waiter = waiter
    transport.extra = extra
    return transport
