"""The reading side of a stream transport.

One multishot receive per connection; each piece of data is one data_received() with bytes of
their exact size.  A piece comes in a buffer of the model's and is copied once; after a large one,
for which that is a tenth of what a request costs, the next is received where it is to be: into a
bytes object that is shrunk then, into the buffer of a BufferedProtocol, into asyncio's reader.
pause_reading() cancels it; what still arrives until the model has let go is held, since asyncio
promises no data_received() after a pause.
"""

import logging

from cpython.buffer cimport PyBuffer_IsContiguous
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memcpy

from headrace.core.operation cimport STATE_IDLE, ReceiveOperation
from headrace.core.ready_queue cimport Runnable, ready_push
from headrace.kernel.errno cimport ECANCELED
from headrace.kernel.errors cimport os_error
from headrace.loop.asyncio_streams cimport (
    asyncio_reader, feed_asyncio_reader, is_asyncio_stream, leave_room_of_asyncio_reader,
    room_of_asyncio_reader,
)
from headrace.loop.byte_sink cimport ByteSink
from headrace.loop.connection cimport STEP_DELIVER
from headrace.loop.flow_control cimport FlowControl

cdef object logger = logging.getLogger("asyncio")

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize" (const char *data, Py_ssize_t size) noexcept
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    void PyErr_Clear()
    void Py_CLEAR(PyObject *reference)
    object PyObject_CallMethodNoArgs(object target, object name)
    object PyObject_CallMethodOneArg(object target, object name, object argument)

# What a large piece is received into.  Less than the 128 KiB that glibc maps and unmaps one by one.
cdef Py_ssize_t ROOM_BYTES = 120 * 1024
cdef str DATA_RECEIVED = "data_received"
cdef str BUFFER_UPDATED = "buffer_updated"
cdef str EOF_RECEIVED = "eof_received"


cdef class StreamReceive(ReceiveOperation):
    def __repr__(self):
        # Debug mode shows it where a protocol has held the loop up: say which.
        protocol = None if self.side is None else self.side.protocol
        return f"{ReceiveOperation.__repr__(self)[:-1]} {protocol=}>"

    cdef int received(self, const char *data, int result) except -1:
        # A reference of our own: the connection may let go of this operation, and of its last one.
        cdef ReadingSide side = self.side
        if side is None:
            return 0  # it has already, with this end still in the queue
        return side.received(data, result)

    cdef char *place(self, size_t *room) noexcept:
        return NULL if self.side is None else self.side.place(room)

    cdef void leave_place(self) noexcept:
        self.side.leave_place()

    cdef int received_in_place(self, int size) except -1:
        cdef ReadingSide side = self.side
        return side.received_in_place(size)


cdef class Interruption(Runnable):
    """What must not come up where it was raised."""

    cdef object error

    def __init__(self, error):
        self.error = error

    cdef int run(self, int result, unsigned int flags) except -1:
        raise self.error


cdef class ReadingSide(FlowControl):
    def is_reading(self):
        return not self.closing and not self.paused

    def set_protocol(self, protocol):
        FlowControl.set_protocol(self, protocol)
        self.sink = None
        self.reader = None
        if isinstance(protocol, ByteSink) and (<ByteSink>protocol).takes_bytes():
            self.sink = protocol
        self.feeds_asyncio = is_asyncio_stream(protocol)

    cdef int run(self, int step, unsigned int flags) except -1:
        if step == STEP_DELIVER:
            self.deliver_queued = False
            return self.deliver_held()
        return FlowControl.run(self, step, flags)

    cdef int start_operations(self) except -1:
        return 0 if self.paused else self.start_receiving()

    cdef StreamReceive new_receive(self):
        return StreamReceive(self.fd)

    cdef int start_receiving(self) except -1:
        if self.receive is None:
            self.receive = self.new_receive()
            self.receive.owned = True
            self.receive.side = self
        if self.receive.state != STATE_IDLE:
            return 0  # still being cancelled: its end starts it again
        try:
            return self.loop._model.start(self.receive)
        except OSError as error:
            self.report(error, f"Cannot read from {self!r}")
            return self.lose(error)

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
            self.delivered_turn = self.loop.turn_number()
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
        if self.delivered_turn == self.loop.turn_number():
            # asyncio reads once in a turn: whom the data have woken runs, and may answer, before
            # the end closes the connection.
            self.end_held = True
            self.end_result = result
            return self.queue_delivery()
        return self.ended(result)

    cdef char *place(self, size_t *room) noexcept:
        """Where a large piece goes, so that it is not copied: see ReceiveOperation.place()."""
        if self.lost or self.closing or self.paused or self.held is not None:
            return NULL
        if self.is_buffered:
            return self.place_in_protocol(room)
        if self.feeds_asyncio:
            return self.place_in_reader(room)
        if self.sink is None or self.sink.takes_object():
            return self.place_in_bytes(room)
        return NULL

    cdef char *place_in_bytes(self, size_t *room) noexcept:
        """The object that will be delivered, shrunk then to its size."""
        room[0] = ROOM_BYTES
        self.room = new_bytes(NULL, ROOM_BYTES)
        if self.room == NULL:
            PyErr_Clear()  # no memory for so much
            return NULL
        return PyBytes_AS_STRING(<bytes>self.room)

    cdef char *place_in_reader(self, size_t *room) noexcept:
        """The bytearray of asyncio's reader, if that is empty."""
        room[0] = ROOM_BYTES
        try:
            return NULL if self.reader is None else room_of_asyncio_reader(self.reader, ROOM_BYTES)
        except Exception:
            return NULL  # no memory, or the buffer is in use: who feeds it will say so

    cdef char *place_in_protocol(self, size_t *room) noexcept:
        """What get_buffer() returns; whatever it does, this connection may not read any more."""
        cdef object view = None
        try:
            view = self.buffer_of_protocol()
        except BaseException as error:
            # It ends the program, or only this run of the loop; not from within an attempt.
            ready_push(self.loop.ready, Interruption(error), 0, 0)
        if view is None or not self.is_buffered or self.lost or self.closing or self.paused:
            return NULL
        room[0] = PyMemoryView_GET_BUFFER(view).len
        Py_INCREF(view)
        self.room = <PyObject *>view
        return <char *>PyMemoryView_GET_BUFFER(view).buf

    cdef void leave_place(self) noexcept:
        if self.room != NULL:
            Py_CLEAR(self.room)
        else:
            leave_room_of_asyncio_reader(self.reader, 0)

    cdef int received_in_place(self, Py_ssize_t size) except -1:
        cdef bytes data
        self.delivered_turn = self.loop.turn_number()
        if self.room == NULL:
            return self.fed_in_place(size)
        if not PyBytes_CheckExact(<object>self.room):
            Py_CLEAR(self.room)
            return self.buffer_updated(size)
        _PyBytes_Resize(&self.room, size)
        data = <bytes>self.room
        self.room = NULL
        Py_DECREF(data)
        if self.sink is not None and self.deliver_to_stream(NULL, 0, data):
            return 0
        return self.deliver_bytes(data)

    cdef int fed_in_place(self, Py_ssize_t size) except -1:
        try:
            leave_room_of_asyncio_reader(self.reader, size)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
        return 0

    cdef int ended(self, int result) except -1:
        if result < 0:
            return self.fatal_error(os_error(-result), f"Fatal read error on {self.noun()}")
        return self.deliver_eof()

    cdef int hold(self, bytes data) except -1:
        if self.held is None:
            self.held = []
        self.held.append(data)
        return 0

    cdef int deliver(self, const char *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken
        if self.sink is not None or self.feeds_asyncio:
            if self.deliver_to_stream(data, size, None):
                return 0
        if not self.is_buffered:
            return self.deliver_bytes(PyBytes_FromStringAndSize(data, size))
        while size > 0 and not self.closing:
            if self.paused or not self.is_buffered:
                return self.keep_rest(data, size)
            self.taken = 0
            try:
                taken = self.deliver_buffered(data, size)
            except BaseException:
                # It ends the program, or only this run of the loop.
                self.keep_rest(data + self.taken, size - self.taken)
                raise
            if taken == 0:
                return 0
            data += taken
            size -= taken
        return 0

    cdef bint deliver_to_stream(self, const char *data, Py_ssize_t size, bytes whole) except -1:
        """To a native protocol or asyncio's reader; False if it wants to be told as any other.

        *whole*, where it is not None, is the object that the data are, for a native protocol.
        """
        cdef bint entered = False
        # A reference of our own: what is called may put another protocol in its place.
        cdef ByteSink sink = self.sink
        try:
            if sink is not None:
                entered = sink.calls_users() and self.enter_context()
                if whole is None:
                    sink.take(data, size)
                else:
                    sink.take_object(whole)
                return True
            if self.reader is None:
                self.reader = asyncio_reader(self.protocol)
                self.feeds_asyncio = self.reader is not None
            return self.feeds_asyncio and feed_asyncio_reader(self.reader, data, size)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
        finally:
            self.leave_context(entered)
        return True

    cdef int keep_rest(self, const char *data, Py_ssize_t size) except -1:
        """Hold what was not delivered: before all that is held already, which came later."""
        if size > 0:
            rest = PyBytes_FromStringAndSize(data, size)
            self.held = [rest] if self.held is None else [rest, *self.held]
        return 0 if self.paused else self.queue_delivery()

    cdef int deliver_bytes(self, object data) except -1:
        entered = self.enter_context()
        try:
            PyObject_CallMethodOneArg(self.protocol, DATA_RECEIVED, data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
        finally:
            self.leave_context(entered)
        return 0

    cdef Py_ssize_t deliver_buffered(self, const char *data, Py_ssize_t size) except -1:
        """One get_buffer() and buffer_updated(); the count of bytes taken, 0 if that failed."""
        cdef Py_ssize_t taken
        view = self.buffer_of_protocol()
        if view is None:
            return 0
        taken = min(size, PyMemoryView_GET_BUFFER(view).len)
        memcpy(PyMemoryView_GET_BUFFER(view).buf, data, taken)
        # The protocol may resize its buffer, which a view that is held forbids.
        view = None
        self.taken = taken
        self.buffer_updated(taken)
        return taken

    cdef object buffer_of_protocol(self):
        """A view of what the protocol wants to be received into; None if that failed."""
        cdef Py_buffer *buffer
        entered = self.enter_context()
        try:
            view = PyMemoryView_FromObject(self.protocol.get_buffer(-1))
            buffer = PyMemoryView_GET_BUFFER(view)
            if buffer.len == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            if buffer.readonly or not PyBuffer_IsContiguous(buffer, b"C"):
                raise BufferError("get_buffer() returned a buffer that cannot be received into")
            return view
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.get_buffer() call failed.")
        finally:
            self.leave_context(entered)
        return None

    cdef int buffer_updated(self, Py_ssize_t size) except -1:
        entered = self.enter_context()
        try:
            PyObject_CallMethodOneArg(self.protocol, BUFFER_UPDATED, size)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.buffer_updated() call failed.")
        finally:
            self.leave_context(entered)
        return 0

    cdef int deliver_held(self) except -1:
        """What came while reading was paused, unless it is paused again."""
        while self.held and not self.paused and not self.closing:
            data = self.held.pop(0)
            if not self.held:
                self.held = None
            try:
                self.deliver(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            except BaseException:
                self.queue_delivery()
                raise
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
        entered = self.enter_context()
        try:
            keep_open = PyObject_CallMethodNoArgs(self.protocol, EOF_RECEIVED)
        except (SystemExit, KeyboardInterrupt):
            # No answer.  Should the loop be run again, the protocol is asked again, as in asyncio.
            self.at_eof = False
            self.end_held = True
            self.end_result = 0
            self.queue_delivery()
            raise
        except BaseException as error:
            return self.protocol_failed(
                error, "Fatal error: protocol.eof_received() call failed."
            )
        finally:
            self.leave_context(entered)
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

    # Ending.

    cdef int stop_operations(self) except -1:
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        return 0

    cdef bint is_quiet(self) noexcept:
        return FlowControl.is_quiet(self) and (self.receive is None or self.receive.is_over())

    cdef int let_go(self) except -1:
        self.held = None
        self.sink = None
        self.reader = None
        self.feeds_asyncio = False
        if self.receive is not None:
            self.receive.side = None
            self.receive = None
        return FlowControl.let_go(self)
