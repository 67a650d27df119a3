"""The native part of a writer: write() and drain(), which run for each answer.

drain() with room left is no coroutine but an Awaitable that is done at once.  Whatever else it may
find when it is awaited, an error of the reader, a connection that is closing, a transport that is
full, goes asyncio's own way.
"""

import asyncio
import warnings

from cpython.object cimport PyObject

from headrace.core.recycler cimport (
    PyTypeObject, Recycler, recycle, recycler_allocate, recycler_free,
)
from headrace.loop.awaitable cimport Awaitable
from headrace.loop.stream_transport cimport StreamTransport, has_attributes
from headrace.streams.protocol_core cimport ProtocolCore
from headrace.streams.reader_core cimport ReaderCore

cdef extern from "Python.h":
    PyObject **_PyObject_GetDictPtr(object instance)
    void Py_CLEAR(PyObject *reference)
    object PyObject_CallMethodOneArg(object target, object name, object argument)

cdef str WRITE = "write"
cdef object drain_as_asyncio = asyncio.StreamWriter.drain


cdef class WriterCore:
    def __cinit__(self, *arguments, **keywords):
        cdef PyObject **attributes = _PyObject_GetDictPtr(self)
        Py_CLEAR(attributes[0])

    def __init__(self, transport, protocol, reader, loop):
        if reader is not None and not isinstance(reader, asyncio.StreamReader):
            raise AssertionError(f"not a StreamReader: {reader!r}")
        self._transport = transport
        self._protocol = protocol
        self._reader = reader
        self._loop = loop

    def __del__(self):
        if self._transport is None or self._transport.is_closing():
            return
        if self._loop.is_closed():
            warnings.warn("loop is closed", ResourceWarning)
        else:
            self.close()
            warnings.warn(f"unclosed {self!r}", ResourceWarning)

    @property
    def _complete_fut(self):
        if self.complete is None:
            self.complete = self._loop.create_future()
            self.complete.set_result(None)
        return self.complete

    def write(self, data):
        cdef object transport = self._transport
        if type(transport) is StreamTransport and not has_attributes(transport):
            (<StreamTransport>transport).take_data(data)
        else:
            PyObject_CallMethodOneArg(transport, WRITE, data)

    def is_closing(self):
        return self._transport.is_closing()

    def drain(self):
        cdef Draining draining = Draining.__new__(Draining)
        draining.writer = self
        return draining

    cdef bint may_go_on(self) except -1:
        """Has drain() nothing to wait for, and nothing to raise?"""
        cdef object reader = self._reader
        cdef object protocol = self._protocol
        if reader is not None:
            if not isinstance(reader, ReaderCore) or not (<ReaderCore>reader).is_plain:
                return False
            if (<ReaderCore>reader).error is not None:
                return False
        if not isinstance(protocol, ProtocolCore) or not (<ProtocolCore>protocol).drains_as_ours:
            return False
        if (<ProtocolCore>protocol)._paused or (<ProtocolCore>protocol)._connection_lost:
            return False
        transport = self._transport
        if type(transport) is StreamTransport and not has_attributes(transport):
            return not (<StreamTransport>transport).closing
        return not transport.is_closing()


cdef class Draining(Awaitable):
    cdef str what(self):
        return "StreamWriter.drain"

    cdef object attempt(self):
        if not self.begun and not self.writer.may_go_on():
            self.waiting = drain_as_asyncio(self.writer)
        return None


cdef Recycler drainings


cdef PyObject *allocate_draining(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&drainings, type, count)


cdef void free_draining(void *memory) noexcept:
    recycler_free(&drainings, memory)


recycle(&drainings, Draining, allocate_draining, free_draining)
