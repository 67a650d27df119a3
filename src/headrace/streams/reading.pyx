"""Reading: read(), readexactly(), readuntil(), readline() and `async for`, without a coroutine.

The rules are asyncio.StreamReader's to the letter: what raises, what is taken out of the buffer
before it raises, what stays.  What was waited for is never handed over to a task, only announced:
it stands in the reader until the task has come up and takes it, so a cancelled read loses nothing.
"""

import asyncio
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memchr

from headrace.core.recycler cimport (
    PyTypeObject, Recycler, recycle, recycler_allocate, recycler_free,
)
from headrace.loop.awaitable cimport Awaitable
from headrace.loop.waiter cimport Waiter
from headrace.streams.reader_core cimport ReaderCore

cdef extern from "Python.h":
    Py_ssize_t PyNumber_AsSsize_t(object number, void *exception) except? -1

cdef extern from "<string.h>" nogil:
    void *memmem(const void *hay, size_t hay_size, const void *needle, size_t needle_size)

cdef enum:
    KIND_SOME
    KIND_ALL
    KIND_EXACTLY
    KIND_UNTIL
    KIND_LINE
    KIND_NEXT_LINE

cdef tuple NAMES = ("read", "read", "readexactly", "readuntil", "readline", "__anext__")
cdef object Plain = asyncio.StreamReader
cdef object IncompleteReadError = asyncio.IncompleteReadError
cdef object LimitOverrunError = asyncio.LimitOverrunError
cdef bint TAKES_TUPLES = sys.version_info >= (3, 13)
cdef tuple NEWLINE = (b"\n",)

# What the native paths go round.  A subclass that has one of these of its own gets asyncio's
# paths, which call them.
cdef tuple OWN_METHODS = (
    "read", "readline", "readuntil", "readexactly", "feed_data", "feed_eof", "at_eof", "exception",
    "set_exception", "set_transport", "_wakeup_waiter", "_wait_for_data",
    "_maybe_resume_transport", "__anext__", "__aiter__",
)
cdef dict is_plain_by_class = {}


cdef bint is_plain_class(object kind) except -1:
    known = is_plain_by_class.get(kind)
    if known is None:
        known = all([has_only_ours(kind, name) for name in OWN_METHODS])
        is_plain_by_class[kind] = known
    return known


cdef bint has_only_ours(object kind, str name) except -1:
    for base in kind.__mro__:
        if name in base.__dict__:
            return base in (NativeReader, ReaderCore, Plain)
    return True


cdef class Reading(Awaitable):
    cdef str what(self):
        return f"StreamReader.{NAMES[self.kind]}"

    cdef object attempt(self):
        if not self.begun and self.reader.error is not None and self.kind <= KIND_EXACTLY:
            if self.kind != KIND_EXACTLY or self.count >= 0:
                raise self.reader.error
        if self.kind == KIND_SOME:
            return self.read_some()
        if self.kind == KIND_EXACTLY:
            return self.read_exactly()
        if self.kind == KIND_UNTIL:
            return self.read_until()
        if self.kind == KIND_ALL:
            return self.read_all()
        line = self.read_line()
        if self.kind == KIND_NEXT_LINE and self.waiting is None and not line:
            raise StopAsyncIteration
        return line

    cdef object wait(self, str name):
        self.future = self.reader.begin_wait(name)
        self.waiting = (
            self.future if type(self.future) is Waiter else self.future.__await__()
        )

    cdef int wait_is_over(self) except -1:
        if self.reader.waiter is self.future:
            self.reader.waiter = None
        self.future = None
        return 0

    cdef object read_some(self):
        cdef ReaderCore reader = self.reader
        cdef Py_ssize_t size = reader.size()
        if size == 0 and self.count and not reader.eof and not self.begun:
            return self.wait("read")
        data = reader.take(min(size, self.count)) if size else b""
        if self.count:
            reader.resume_if_low()
        return data

    cdef object read_all(self):
        """As many reads of `limit` bytes as there are: a pipe's writer may have more to say."""
        cdef ReaderCore reader = self.reader
        cdef bint waited = self.blocks is not None and self.begun
        if self.blocks is None:
            self.blocks = []
        while True:
            if not waited:
                if reader.error is not None:
                    raise reader.error
                self.count = reader.limit
                if reader.size() == 0 and not reader.eof:
                    return self.wait("read")
            waited = False
            block = reader.take(min(reader.size(), self.count)) if reader.size() else b""
            reader.resume_if_low()
            if not block:
                return b"".join(self.blocks)
            self.blocks.append(block)

    cdef object read_exactly(self):
        cdef ReaderCore reader = self.reader
        if self.count < 0:
            raise ValueError("readexactly size can not be less than zero")
        if self.count == 0:
            return b""
        if reader.size() < self.count:
            if reader.eof:
                raise self.incomplete(self.count)
            return self.wait("readexactly")
        data = reader.take(self.count)
        reader.resume_if_low()
        return data

    cdef object incomplete(self, object expected):
        cdef Py_ssize_t size = self.reader.size()
        return IncompleteReadError(self.reader.take(size) if size else b"", expected)

    cdef object read_until(self):
        if not self.begun:
            self.separator = separators(self.separator)
            if self.reader.error is not None:
                raise self.reader.error
        return self.find()

    cdef object read_line(self):
        cdef ReaderCore reader = self.reader
        if not self.begun:
            self.separator = NEWLINE
            if reader.error is not None:
                raise reader.error
        try:
            return self.find()
        except IncompleteReadError as error:
            return error.partial
        except LimitOverrunError as error:
            # The line goes, whole if its end is there.
            if error.consumed < reader.size() and reader.data()[<Py_ssize_t>error.consumed] == 10:
                reader.drop(error.consumed + 1)
            else:
                reader.drop(reader.size())
            reader.resume_if_low()
            raise ValueError(error.args[0])

    cdef object find(self):
        """Up to the first of the separators; `count` bytes have been looked through."""
        cdef ReaderCore reader = self.reader
        cdef tuple sought = self.separator
        cdef Py_ssize_t size = reader.size()
        cdef Py_ssize_t start = -1
        cdef Py_ssize_t end = -1
        cdef Py_ssize_t found
        cdef bytes one
        if size - self.count >= PyBytes_GET_SIZE(sought[0]):
            for each in sought:
                one = each
                found = position(reader.data(), size, self.count, one)
                if found >= 0 and (end < 0 or found + PyBytes_GET_SIZE(one) < end):
                    start = found
                    end = found + PyBytes_GET_SIZE(one)
            if end < 0:
                # All but what may be the beginning of the longest of them.
                self.count = max(0, size + 1 - PyBytes_GET_SIZE(sought[len(sought) - 1]))
                if self.count > reader.limit:
                    raise LimitOverrunError(
                        "Separator is not found, and chunk exceed the limit", self.count
                    )
        if end < 0:
            if reader.eof:
                raise self.incomplete(None)
            return self.wait("readuntil")
        if start > reader.limit:
            raise LimitOverrunError(
                "Separator is found, but chunk is longer than limit", start
            )
        data = reader.take(end)
        reader.resume_if_low()
        return data


cdef tuple separators(object given):
    """As bytes, the shortest first, so that of two that end together the shorter one matches."""
    cdef list sought = [given]
    if TAKES_TUPLES and isinstance(given, tuple):
        sought = sorted(given, key=len)
        if not sought:
            raise ValueError("Separator should contain at least one element")
    if len(sought[0]) == 0:
        raise ValueError("Separator should be at least one-byte string")
    return tuple([each if type(each) is bytes else bytes(memoryview(each)) for each in sought])


cdef Py_ssize_t position(
    const char *data, Py_ssize_t size, Py_ssize_t offset, bytes sought
) noexcept:
    """Where *sought* stands in *data*, from *offset* on; -1 if it does not."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(sought)
    cdef const char *found
    if size - offset < length:
        return -1
    if length == 1:
        found = <const char *>memchr(data + offset, PyBytes_AS_STRING(sought)[0], size - offset)
    else:
        found = <const char *>memmem(
            data + offset, size - offset, PyBytes_AS_STRING(sought), length
        )
    return -1 if found == NULL else found - data


cdef class NativeReader(ReaderCore):
    def __cinit__(self, *arguments, **keywords):
        self.is_plain = is_plain_class(type(self))

    def feed_data(self, data):
        if not self.is_plain:
            return Plain.feed_data(self, data)
        return self.feed_object(data)

    cdef Reading reading(self, int kind):
        cdef Reading reading = Reading.__new__(Reading)
        reading.reader = self
        reading.kind = kind
        return reading

    def read(self, n=-1):
        cdef Reading reading
        if not self.is_plain:
            return Plain.read(self, n)
        reading = self.reading(KIND_SOME)
        reading.count = PyNumber_AsSsize_t(n, NULL)
        if reading.count < 0:
            reading.kind = KIND_ALL
        return reading

    def readexactly(self, n):
        cdef Reading reading
        if not self.is_plain:
            return Plain.readexactly(self, n)
        reading = self.reading(KIND_EXACTLY)
        reading.count = PyNumber_AsSsize_t(n, NULL)
        return reading

    def readuntil(self, separator=b"\n"):
        cdef Reading reading
        if not self.is_plain:
            return Plain.readuntil(self, separator)
        reading = self.reading(KIND_UNTIL)
        reading.separator = separator
        return reading

    def readline(self):
        return self.reading(KIND_LINE) if self.is_plain else Plain.readline(self)

    def __aiter__(self):
        return self

    def __anext__(self):
        return self.reading(KIND_NEXT_LINE) if self.is_plain else Plain.__anext__(self)


cdef Recycler readings


cdef PyObject *allocate_reading(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&readings, type, count)


cdef void free_reading(void *memory) noexcept:
    recycler_free(&readings, memory)


recycle(&readings, Reading, allocate_reading, free_reading)
