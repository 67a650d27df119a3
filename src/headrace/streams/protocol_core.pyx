"""The native part of a streams' protocol: data go from the receive buffer into the reader.

Its state has the names of asyncio.StreamReaderProtocol's, whose methods are inherited where they
run once a connection.  What asyncio makes for each connection and nearly nobody uses, a future
for wait_closed() and a deque for those who wait in drain(), is made when it is asked for.

The protocol must not keep its reader alive: what comes for a reader that nobody has is dropped.
asyncio has a weak reference for that, 80 bytes; here each of the two knows the other's address,
and takes it back when it ends.
"""

import collections
import weakref
from asyncio import streams

from cpython.object cimport PyObject

from headrace.loop.byte_sink cimport ByteSink
from headrace.streams.reader_core cimport ReaderCore, current_loop

cdef extern from "Python.h":
    PyObject **_PyObject_GetDictPtr(object instance)
    void Py_CLEAR(PyObject *reference)
    Py_ssize_t Py_REFCNT(PyObject *reference)

cdef object drain_helper = streams.StreamReaderProtocol._drain_helper


cdef class ProtocolCore(ByteSink):
    def __cinit__(self, *arguments, **keywords):
        cdef PyObject **attributes = _PyObject_GetDictPtr(self)
        Py_CLEAR(attributes[0])
        kind = type(self)
        self.is_plain = kind.data_received is ProtocolCore.data_received
        self.drains_as_ours = getattr(kind, "_drain_helper", None) is drain_helper

    def __init__(self, stream_reader, client_connected_cb=None, loop=None):
        self._loop = current_loop() if loop is None else loop
        if stream_reader is not None:
            self.feeds(stream_reader)
            self._source_traceback = stream_reader._source_traceback
        self._client_connected_cb = client_connected_cb
        if client_connected_cb is not None:
            # Of an accepted connection nobody else has it, until the callback is called.
            self._strong_reader = stream_reader

    def __dealloc__(self):
        self.feeds_nobody()

    def __del__(self):
        if self.closed is not None and self.closed.done() and not self.closed.cancelled():
            # Whoever did not wait for the end need not be told how it ended.
            self.closed.exception()

    @property
    def _drain_waiters(self):
        if self.drain_waiters is None:
            self.drain_waiters = collections.deque()
        return self.drain_waiters

    @property
    def _closed(self):
        if self.closed is None:
            self.closed = self._loop.create_future()
            if self.is_over:
                self.end_wait()
        return self.closed

    def _connection_is_over(self, error):
        """What asyncio's connection_lost() says to the future that may not be there yet."""
        self.is_over = True
        self.error = error
        if self.closed is not None and not self.closed.done():
            self.end_wait()

    cdef int end_wait(self) except -1:
        if self.error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(self.error)
        return 0

    cdef bint takes_bytes(self) noexcept:
        return self.is_plain

    cdef bint takes_object(self) noexcept:
        return (
            self.fed != NULL and (<ReaderCore>self.fed).is_plain
            and (<ReaderCore>self.fed).size() == 0
        )

    cdef int take_object(self, bytes data) except -1:
        reader = self.reader()
        if reader is None:
            return 0  # nobody will read it
        if isinstance(reader, ReaderCore) and (<ReaderCore>reader).is_plain:
            return (<ReaderCore>reader).feed_object(data)
        reader.feed_data(data)
        return 0

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        reader = self.reader()
        if reader is None:
            return 0  # nobody will read it
        if isinstance(reader, ReaderCore) and (<ReaderCore>reader).is_plain:
            return (<ReaderCore>reader).feed(data, size)
        reader.feed_data(data[:size])
        return 0

    # The reader.

    cdef int feeds(self, object reader) except -1:
        self.feeds_nobody()
        if isinstance(reader, ReaderCore) and (<ReaderCore>reader).feeder == NULL:
            self.fed = <PyObject *>reader
            (<ReaderCore>reader).feeder = &self.fed
        else:
            self.reference = weakref.ref(reader)
        return 0

    cdef void feeds_nobody(self) noexcept:
        if self.fed != NULL:
            (<ReaderCore>self.fed).feeder = NULL
            self.fed = NULL

    cdef object reader(self):
        if self.fed != NULL:
            # Who asks in the callback of a weak reference to a reader that dies gets None.
            return <object>self.fed if Py_REFCNT(self.fed) > 0 else None
        return None if self.reference is None else self.reference()

    @property
    def _stream_reader(self):
        return self.reader()

    @property
    def _stream_reader_wr(self):
        reader = self.reader()
        return None if reader is None else weakref.ref(reader)

    @_stream_reader_wr.setter
    def _stream_reader_wr(self, reference):
        reader = None if reference is None else reference()
        self.reference = None
        self.feeds_nobody()
        if reader is not None:
            self.feeds(reader)

    def data_received(self, data):
        reader = self.reader()
        if reader is not None:
            reader.feed_data(data)
