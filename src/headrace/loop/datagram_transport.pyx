"""Datagram transports: a UDP or Unix datagram socket and its protocol.

One multishot receive per endpoint; each completion brings the datagrams that were there, up to a
limit, so that an endpoint under load does not keep the others waiting.  sendto() tries at once, and
only what the kernel will not take waits, in order, behind one send operation.  An error ends
neither direction: the protocol is told, and the next datagram may do better.
"""

import logging
import sys
from asyncio import constants, transports
from collections import deque

from cpython.bytes cimport PyBytes_GET_SIZE

from headrace.core.datagram_operation cimport (
    DATAGRAM_BYTES_MAX, DatagramBatch, ReceiveDatagramsOperation, SendToOperation,
)
from headrace.core.operation cimport OUTCOME_NOT_DONE, STATE_IDLE
from headrace.core.ready_queue cimport ready_push
from headrace.core.statistics cimport KIND_SEND_TO
from headrace.kernel.errno cimport ECANCELED
from headrace.kernel.errors cimport os_error
from headrace.loop.connection cimport STEP_DELIVER, STEP_FLUSH
from headrace.loop.engine cimport LoopCore
from headrace.loop.flow_control cimport FlowControl, describe
from headrace.models.contract cimport COMPLETED

cdef extern from "Python.h":
    object PyContext_CopyCurrent()

cdef object logger = logging.getLogger("asyncio")
cdef int LOST_WRITES_LOG_THRESHOLD = 5
# Python 3.13 sends empty datagrams, which older ones swallow, and counts a head for each queued.
cdef bint SENDS_EMPTY = sys.version_info >= (3, 13)
cdef size_t HEAD_BYTES = 8 if SENDS_EMPTY else 0


class DatagramFace(transports._FlowControlMixin, transports.DatagramTransport):
    """What isinstance() sees: asyncio.DatagramTransport."""

    __slots__ = ()


DatagramFace.__name__ = DatagramFace.__qualname__ = "DatagramTransport"


cdef class DatagramReceive(ReceiveDatagramsOperation):
    def __repr__(self):
        # As a stream's: see there.
        protocol = None if self.transport is None else self.transport.protocol
        return f"{ReceiveDatagramsOperation.__repr__(self)[:-1]} {protocol=}>"

    cdef int received(self, list datagrams, int result) except -1:
        # A reference of our own: see StreamReceive.
        cdef DatagramTransport transport = self.transport
        return 0 if transport is None else transport.received(datagrams, result)


cdef class DatagramSend(SendToOperation):
    cdef object error(self, int result):
        """What has gone wrong, if anything has."""
        if self.failure is not None:
            return self.failure
        return os_error(-result) if result < 0 else None

    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef DatagramTransport transport = self.transport
        if transport is None or transport.lost:
            self.unload()
            return 0 if transport is None else transport.finish_if_quiet()
        transport.sent(result)
        return transport.pump()


cdef class DatagramTransport(FlowControl):
    max_size = DATAGRAM_BYTES_MAX
    _start_tls_compatible = False
    _sendfile_compatible = constants._SendfileMode.UNSUPPORTED

    @property
    def __class__(self):
        return DatagramFace

    def __repr__(self):
        return describe(self, self.paused)

    cdef int run(self, int step, unsigned int flags) except -1:
        if step == STEP_DELIVER:
            self.deliver_queued = False
            return self.deliver_held()
        if step == STEP_FLUSH:
            return self.pump()
        return FlowControl.run(self, step, flags)

    # Receiving.

    def is_reading(self):
        return not self.closing and not self.paused

    def pause_reading(self):
        if self.closing or self.paused:
            return
        self.paused = True
        self.loop._model.stop(self.receive)
        if self.loop._debug:
            logger.debug("%r pauses reading", self)

    def resume_reading(self):
        if self.closing or not self.paused:
            return
        self.paused = False
        self.queue_delivery()
        if self.loop._debug:
            logger.debug("%r resumes reading", self)

    cdef int start_operations(self) except -1:
        return 0 if self.closing or self.paused else self.start_receiving()

    cdef int start_receiving(self) except -1:
        if self.receive.state != STATE_IDLE:
            return 0  # still being cancelled: its end starts it again
        try:
            return self.loop._model.start(self.receive)
        except OSError as error:
            self.report(error, f"Cannot read from {self!r}")
            return self.lose(error)

    cdef int received(self, list datagrams, int result) except -1:
        """Datagrams; or, with a negative *result*, the end of the receive operation."""
        if self.lost:
            return self.finish_if_quiet()
        if self.closing:
            return 0
        if result < 0:
            return self.receive_ended(result)
        if self.paused or self.held is not None:
            return self.hold(datagrams, False)
        return self.deliver(datagrams)

    cdef int receive_ended(self, int result) except -1:
        error = [(None, os_error(-result))] if result != -ECANCELED else []
        if self.paused or self.held is not None:
            # What came before the error comes before it for the protocol too.
            return self.hold(error, False)
        try:
            return self.deliver(error)
        finally:
            self.start_operations()

    cdef int deliver(self, list datagrams) except -1:
        """Tell the protocol of *datagrams*, until it closes or pauses; errors stand among them."""
        cdef Py_ssize_t index = 0
        cdef bint entered = self.enter_context()
        try:
            while index < len(datagrams) and not self.closing and not self.paused:
                data, address = datagrams[index]
                index += 1
                self.tell(data, address)
        finally:
            # Also if a callback ends the program: the loop may be run again.
            self.leave_context(entered)
            if index < len(datagrams) and not self.closing:
                self.hold(datagrams[index:], True)
        return 0

    cdef int tell(self, object data, object address) except -1:
        cdef str name = "datagram_received"
        try:
            if data is not None:
                self.protocol.datagram_received(data, address)
            else:
                name = "error_received"
                self.protocol.error_received(address)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.report(error, f"Exception in callback {name}()")
        return 0

    cdef int hold(self, list datagrams, bint first) except -1:
        """Keep what was not delivered; *first*, if it came before what is held already."""
        held = self.held or []
        self.held = datagrams + held if first else held + datagrams
        return 0 if self.paused else self.queue_delivery()

    cdef int queue_delivery(self) except -1:
        if not self.deliver_queued:
            self.deliver_queued = True
            ready_push(self.loop.ready, self, STEP_DELIVER, 0)
        return 0

    cdef int deliver_held(self) except -1:
        """What came while reading was paused, unless it is paused again."""
        cdef list held = self.held
        if self.paused or self.closing:
            return 0
        self.held = None
        try:
            if held is not None:
                self.deliver(held)
        finally:
            if self.held is None:
                self.start_operations()
        return 0

    # Sending.

    @property
    def _protocol_paused(self):
        return self.protocol_paused

    def get_write_buffer_size(self):
        return self.buffered

    def get_write_buffer_limits(self):
        return self.low_water, self.high_water

    def set_write_buffer_limits(self, high=None, low=None):
        self.set_limits(high, low)

    def sendto(self, data, addr=None):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if not data and not SENDS_EMPTY:
            return
        if self.address:
            if addr is not None and addr != self.address:
                raise ValueError(f"Invalid address: must be None or {self.address}")
            addr = self.address
        if self.lost and self.is_too_late():
            return
        # The caller may change it as soon as we return.
        chunk = data if type(data) is bytes else bytes(data)
        if self.is_blocked():
            self.waiting.append((chunk, addr))
        elif self.send_nowait(chunk, addr):
            return
        if self.lost:
            self.send.unload()
            return
        self.buffered += PyBytes_GET_SIZE(chunk) + HEAD_BYTES
        self.pump()
        self.maybe_pause_protocol()

    cdef bint is_blocked(self) except -1:
        """Is something to be sent before what comes now?"""
        return self.send.data is not None or len(self.waiting) > 0

    cdef bint is_too_late(self) except -1:
        """After the end nothing is sent; only an open socket without a fixed address still may."""
        if self.fd >= 0 and not self.address:
            return False
        if self.lost_writes >= LOST_WRITES_LOG_THRESHOLD:
            logger.warning("socket.send() raised exception.")
        self.lost_writes += 1
        return True

    cdef bint send_nowait(self, bytes data, object address) except -1:
        """sendto()'s own attempt; False if the socket has no room: it is loaded then."""
        if not self.attempt(data, address):
            return False
        error = self.send.error(self.send.result)
        self.send.unload()
        if isinstance(error, OSError):
            # Not as a callback of ours: what it raises is for the caller of sendto().
            self.protocol.error_received(error)
        elif error is not None:
            self.send_failed(error)
        return True

    cdef bint attempt(self, bytes data, object address) except -1:
        """Load the send operation and try it; False if the socket has no room."""
        self.send.load(data, address, self.is_connected, self.sock)
        if self.send.perform(&self.loop.counts.counters) == OUTCOME_NOT_DONE:
            return False
        self.loop.counts.counters.operations[KIND_SEND_TO] += 1
        self.loop.counts.counters.completions += 1
        return True

    cdef int send_failed(self, object error) except -1:
        """What no errno says: the address cannot be understood, or the program is to end."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        return self.fatal_error(error, "Fatal write error on datagram transport")

    cdef int pump(self) except -1:
        """Send what waits until the kernel has to be waited for, and say what came of it."""
        self.send_waiting()
        if self.lost:
            return 0
        self.maybe_resume_protocol()
        if self.closing and not self.lost and not self.is_blocked():
            return self.lose(None)
        return 0

    cdef int send_waiting(self) except -1:
        while not self.lost and self.send.state == STATE_IDLE:
            if self.send.data is None:
                if not self.waiting:
                    return 0
                data, address = self.waiting.popleft()
                if not self.attempt(data, address):
                    continue
            else:
                try:
                    if self.loop._model.start(self.send) != COMPLETED:
                        return 0
                except OSError as error:
                    return self.fatal_error(error, "Fatal write error on datagram transport")
            self.sent(self.send.result)
        return 0

    cdef int sent(self, int result) except -1:
        """One that waited has been sent, or will not be."""
        error = self.send.error(result)
        self.buffered -= PyBytes_GET_SIZE(self.send.data) + HEAD_BYTES
        self.send.unload()
        if error is None:
            return 0
        if not isinstance(error, OSError):
            return self.send_failed(error)
        entered = self.enter_context()
        try:
            return self.tell(None, error)
        except BaseException:
            # It ends the program, or only this run of the loop.
            ready_push(self.loop.ready, self, STEP_FLUSH, 0)
            raise
        finally:
            self.leave_context(entered)

    # Ending.

    def close(self):
        if self.closing:
            return
        self.closing = True
        self.loop._model.stop(self.receive)
        if not self.is_blocked():
            self.lose(None)

    cdef int drop_output(self) except -1:
        self.waiting.clear()
        self.buffered = 0
        return 0

    cdef int stop_operations(self) except -1:
        self.loop._model.stop(self.receive)
        self.loop._model.stop(self.send)
        return 0

    cdef bint is_quiet(self) noexcept:
        return self.receive.is_over() and self.send.is_over()

    cdef int let_go(self) except -1:
        self.held = None
        self.receive.transport = None
        self.send.transport = None
        return FlowControl.let_go(self)


def datagram_transport(
    LoopCore loop, sock, DatagramBatch batch, protocol, address, waiter, extra,
):
    """A transport for *sock*, which is non-blocking and is now the transport's."""
    cdef DatagramTransport transport = DatagramTransport.__new__(DatagramTransport)
    transport.loop = loop
    transport.sock = sock
    transport.base_context = PyContext_CopyCurrent()
    transport.protocol = protocol
    transport.address = address
    transport.waiter = waiter
    transport.extra = {"peername": name_of(sock.getpeername), **(extra or {})}
    transport.extra.setdefault("sockname", name_of(sock.getsockname))
    transport.is_connected = bool(transport.extra["peername"])
    transport.waiting = deque()
    transport.receive = DatagramReceive(sock, batch)
    transport.receive.owned = True
    transport.receive.transport = transport
    transport.send = DatagramSend(sock, recent=transport.receive.recent)
    transport.send.owned = True
    transport.send.transport = transport
    transport.own(sock.fileno(), True)
    return transport


cdef object name_of(object ask):
    """What getsockname() or getpeername() says now; the socket may be asked for it later."""
    try:
        return ask()
    except OSError:
        return None
