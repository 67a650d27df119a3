"""The native part of a reader: what has come and was not read yet, and who waits for it.

asyncio's reader keeps a bytearray: what comes is appended, what is read is copied out and deleted
from its front.  Nearly always one piece comes and is read whole before the next one.  So a piece
stays the bytes object of its exact size that was made of the receive buffer, and whoever reads all
of it gets that object: it was copied once.  A second piece on top makes a bytearray of both.

All state has asyncio's names as well (`_buffer`, `_limit`, `_paused` and so on), readable and
writable: programs look into it, and what asyncio.StreamReader has and is not native here (repr(),
feed_eof(), set_exception() ...) is inherited and works on them.
"""

import sys
from asyncio import events, format_helpers, streams

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy

from headrace.loop.scheduling cimport Scheduling
from headrace.loop.waiter cimport Waiter, make_waiter

cdef extern from "Python.h":
    PyObject **_PyObject_GetDictPtr(object instance)
    void Py_CLEAR(PyObject *reference)
    Py_ssize_t Py_REFCNT(object instance)
    Py_ssize_t PY_SSIZE_T_MAX

cdef object LIMIT_DEFAULT = streams._DEFAULT_LIMIT

cdef object current_loop():
    """The loop for who names none, as each version of asyncio asks for it."""
    ask = getattr(events, "_get_event_loop", events.get_event_loop)
    return ask()


cdef class ReaderCore:
    """See reading.NativeReader, which is what there is of it."""

    def __cinit__(self, *arguments, **keywords):
        cdef PyObject **attributes = _PyObject_GetDictPtr(self)
        Py_CLEAR(attributes[0])

    def __dealloc__(self):
        if self.feeder != NULL:
            self.feeder[0] = NULL

    def __init__(self, limit=LIMIT_DEFAULT, loop=None):
        if limit <= 0:
            raise ValueError("Limit cannot be <= 0")
        self._limit = limit
        self.loop = current_loop() if loop is None else loop
        if self.loop.get_debug():
            # Native code has no frame: this one is the caller's.
            self._source_traceback = format_helpers.extract_stack(sys._getframe(0))

    # State, by asyncio's names.

    @property
    def _limit(self):
        return self.given_limit

    @_limit.setter
    def _limit(self, value):
        self.given_limit = value
        # As asyncio, which only compares it, this takes whatever compares with a number.
        self.limit = int(value) if value < PY_SSIZE_T_MAX else PY_SSIZE_T_MAX

    @property
    def _buffer(self):
        return self.gather()

    @_buffer.setter
    def _buffer(self, value):
        self.piece = None
        self.start = 0
        self.gathered = value

    @property
    def _loop(self):
        return self.loop

    @_loop.setter
    def _loop(self, value):
        self.loop = value

    @property
    def _transport(self):
        return self.transport

    @_transport.setter
    def _transport(self, value):
        self.transport = value

    @property
    def _waiter(self):
        return self.waiter

    @_waiter.setter
    def _waiter(self, value):
        self.waiter = value

    @property
    def _exception(self):
        return self.error

    @_exception.setter
    def _exception(self, value):
        self.error = value

    @property
    def _eof(self):
        return self.eof

    @_eof.setter
    def _eof(self, value):
        self.eof = value

    @property
    def _paused(self):
        return self.paused

    @_paused.setter
    def _paused(self, value):
        self.paused = value

    # What has come.

    cdef Py_ssize_t size(self) noexcept:
        if self.piece is not None:
            return PyBytes_GET_SIZE(self.piece) - self.start
        return 0 if self.gathered is None else PyByteArray_GET_SIZE(self.gathered)

    cdef const char *data(self) noexcept:
        if self.piece is not None:
            return PyBytes_AS_STRING(self.piece) + self.start
        return NULL if self.gathered is None else PyByteArray_AS_STRING(self.gathered)

    cdef bytes take(self, Py_ssize_t count):
        """The first *count* bytes, which are there."""
        cdef bytes taken = self.piece
        if taken is not None and self.start == 0 and count == PyBytes_GET_SIZE(taken):
            self.piece = None
            return taken
        taken = PyBytes_FromStringAndSize(self.data(), count)
        self.drop(count)
        return taken

    cdef int drop(self, Py_ssize_t count) except -1:
        if count == 0:
            return 0
        if self.piece is not None:
            self.start += count
            if self.start == PyBytes_GET_SIZE(self.piece):
                self.piece = None
                self.start = 0
        elif count == PyByteArray_GET_SIZE(self.gathered):
            # A bytearray keeps its memory when it shrinks little, and an idle reader none.
            self.gathered.clear()
        else:
            del self.gathered[:count]
        return 0

    cdef bytearray gather(self):
        """What has come as a bytearray, which from now on is where it stands."""
        if self.gathered is None:
            self.gathered = bytearray()
        if self.piece is not None:
            self.gathered.extend(memoryview(self.piece)[self.start:])
            self.piece = None
            self.start = 0
        return self.gathered

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        """feed_data() of what lies in a receive buffer."""
        cdef Py_ssize_t before
        if self.eof:
            raise AssertionError("feed_data after feed_eof")
        if size == 0:
            return 0
        if self.holds_nothing():
            self.piece = PyBytes_FromStringAndSize(data, size)
        else:
            before = PyByteArray_GET_SIZE(self.gather())
            PyByteArray_Resize(self.gathered, before + size)
            memcpy(PyByteArray_AS_STRING(self.gathered) + before, data, size)
        return self.fed()

    cdef int feed_object(self, object data) except -1:
        """feed_data() of what Python has."""
        if self.eof:
            raise AssertionError("feed_data after feed_eof")
        if not data:
            return 0
        if type(data) is bytes and self.holds_nothing():
            self.piece = data
        else:
            self.gather().extend(data)
        return self.fed()

    cdef bint holds_nothing(self) except -1:
        """Nothing has come, and nobody looks at the bytearray either?"""
        if self.piece is not None:
            return False
        if self.gathered is None:
            return True
        if PyByteArray_GET_SIZE(self.gathered) or Py_REFCNT(self.gathered) > 1:
            return False
        self.gathered = None
        return True

    cdef int fed(self) except -1:
        """Wake whoever waits, and let the transport wait if nobody reads as fast."""
        cdef Py_ssize_t size
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if type(waiter) is Waiter:
                (<Waiter>waiter).finish()
            elif not waiter.cancelled():
                waiter.set_result(None)
        if self.transport is not None and not self.paused:
            size = self.size()
            # Not size > 2 * limit: that may be more than fits.
            if size > self.limit and size - self.limit > self.limit:
                return self.hold_back()
        return 0

    cdef int hold_back(self) except -1:
        try:
            self.transport.pause_reading()
        except NotImplementedError:
            # It cannot wait: all has to be kept, and it need not be asked again.
            self.transport = None
        else:
            self.paused = True
        return 0

    cdef int resume_if_low(self) except -1:
        if self.paused and self.size() <= self.limit:
            self.paused = False
            self.transport.resume_reading()
        return 0

    def at_eof(self):
        return self.eof and self.size() == 0

    # Waiting.

    cdef object begin_wait(self, str name):
        """What to wait for until data or the end have come: a Waiter, or else a future."""
        if self.waiter is not None:
            raise RuntimeError(
                f"{name}() called while another coroutine is already waiting for incoming data"
            )
        if self.eof:
            raise AssertionError("_wait_for_data after EOF")
        if self.paused:
            # Who waits while the transport does would wait for ever.
            self.paused = False
            self.transport.resume_reading()
        if isinstance(self.loop, Scheduling) and (<Scheduling>self.loop).waits_natively():
            self.waiter = make_waiter(<Scheduling>self.loop)
        else:
            self.waiter = self.loop.create_future()
        return self.waiter
