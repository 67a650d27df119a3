"""asyncio's own streams, fed without running Python.

A program that calls asyncio.start_server() gets asyncio's reader, writer and protocol, and keeps
them: they are what it subclasses, patches and looks into.  But data_received(), the property that
it asks for the reader, feed_data() and _wakeup_waiter() are four Python frames for each piece of
data, a fifth of what a request costs.  What they do is done here instead, on the same attributes:
the reader's bytearray grows by what lies in the receive buffer, and its waiter is woken.

Only for objects that are exactly asyncio's, and only while the methods are those that this file
knows: who has replaced one, on the class at any time or on the object before data come, gets his
own called.
"""

import sys
from asyncio import streams

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.method cimport PyMethod_Check, PyMethod_GET_FUNCTION
from libc.string cimport memcpy

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        unsigned int tp_version_tag
    object PyObject_CallNoArgs(object callable)
    object PyObject_GetAttr(object target, object name)
    long PyLong_AsLongAndOverflow(object number, int *overflow) except? -1

cdef object Protocol = streams.StreamReaderProtocol
cdef object Reader = streams.StreamReader
cdef str DATA_RECEIVED = "data_received"
cdef str FEED_DATA = "feed_data"


cdef dict written_by_asyncio(object owner, tuple names):
    """The functions of *owner* that stand for it here, or none if somebody was here before us."""
    found = {name: owner.__dict__.get(name) for name in names}
    functions = [getattr(value, "fget", value) for value in found.values()]
    known = all(getattr(each, "__module__", None) == streams.__name__ for each in functions)
    return found if known else {}


# These versions have been read, and say the same; another one runs its own Python until it has.
cdef bint IS_KNOWN = (3, 11) <= sys.version_info[:2] <= (3, 13)
cdef dict OF_PROTOCOL = written_by_asyncio(Protocol, ("data_received", "_stream_reader"))
cdef dict OF_READER = written_by_asyncio(Reader, ("feed_data", "_wakeup_waiter"))
cdef object data_received = OF_PROTOCOL.get("data_received")
cdef object feed_data = OF_READER.get("feed_data")

# CPython gives a class a new tag when an attribute of it changes: as long as the tags are those
# that were looked at last, so are the methods.  0 is the tag of a class that has none.
cdef unsigned int protocol_tag = 0
cdef unsigned int reader_tag = 0


cdef bint is_asyncio_stream(object protocol) except -1:
    """Is *protocol* of a class that may be fed here?"""
    return IS_KNOWN and OF_PROTOCOL and OF_READER and type(protocol) is Protocol


cdef object asyncio_reader(object protocol):
    """The weak reference by which *protocol* has its reader; None if it is not to be fed here.

    To be asked when the first data have come: then both are complete.
    """
    reference = protocol._stream_reader_wr
    reader = None if reference is None else reference()
    if type(reader) is not Reader or not methods_are_asyncios():
        return None
    if is_own(protocol, DATA_RECEIVED, data_received) and is_own(reader, FEED_DATA, feed_data):
        return reference
    return None


cdef bint feed_asyncio_reader(object reference, const char *data, Py_ssize_t size) except -1:
    """What protocol.data_received() does; False if that is the caller's to call."""
    cdef object reader = PyObject_CallNoArgs(reference)
    if reader is None:
        return True  # nobody will read it: asyncio drops it, too
    if not methods_are_asyncios() or reader._eof:
        return False
    buffer = reader._buffer
    if type(buffer) is not bytearray:
        return False
    append(buffer, data, size)
    appended(reader, buffer)
    return True


cdef char *room_of_asyncio_reader(object reference, size_t room) except? NULL:
    """Where *room* bytes may be received into an empty reader; NULL if not into this one."""
    cdef object reader = PyObject_CallNoArgs(reference)
    if reader is None or not methods_are_asyncios() or reader._eof:
        return NULL
    buffer = reader._buffer
    if type(buffer) is not bytearray or PyByteArray_GET_SIZE(buffer):
        return NULL
    PyByteArray_Resize(buffer, room)
    return PyByteArray_AS_STRING(buffer)


cdef int leave_room_of_asyncio_reader(object reference, size_t size) except -1:
    """Of the room, *size* bytes were received; what data_received() does next if any were."""
    cdef object reader = PyObject_CallNoArgs(reference)
    buffer = reader._buffer
    PyByteArray_Resize(buffer, size)
    return appended(reader, buffer) if size else 0


cdef int appended(object reader, bytearray buffer) except -1:
    wake(reader)
    if is_full(buffer, reader._limit):
        hold_back(reader)
    return 0


cdef bint methods_are_asyncios() except -1:
    global protocol_tag, reader_tag
    cdef unsigned int protocol_now = (<PyTypeObject *>Protocol).tp_version_tag
    cdef unsigned int reader_now = (<PyTypeObject *>Reader).tp_version_tag
    if protocol_now and protocol_now == protocol_tag and reader_now and reader_now == reader_tag:
        return True
    for owner, known in ((Protocol, OF_PROTOCOL), (Reader, OF_READER)):
        for name, value in known.items():
            if owner.__dict__.get(name) is not value:
                return False
            getattr(owner, name)  # which gives a class without a tag one
    protocol_tag = (<PyTypeObject *>Protocol).tp_version_tag
    reader_tag = (<PyTypeObject *>Reader).tp_version_tag
    return True


cdef bint is_own(object owner, str name, object function) except -1:
    """Is the method *name* of *owner* this *function*, bound to it?"""
    method = PyObject_GetAttr(owner, name)
    return PyMethod_Check(method) and <object>PyMethod_GET_FUNCTION(method) is function


cdef int append(bytearray buffer, const char *data, Py_ssize_t size) except -1:
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(buffer)
    PyByteArray_Resize(buffer, before + size)
    memcpy(PyByteArray_AS_STRING(buffer) + before, data, size)
    return 0


cdef bint is_full(bytearray buffer, object limit) except -1:
    """Is there more than twice the *limit*, which is whatever compares with a number?"""
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(buffer)
    cdef int overflow = 0
    cdef long known
    if type(limit) is int:
        known = PyLong_AsLongAndOverflow(limit, &overflow)
        # Not size > 2 * limit: that may be more than fits.
        return overflow < 0 or overflow == 0 and size - known > known
    return size > 2 * limit


cdef int wake(object reader) except -1:
    waiter = reader._waiter
    if waiter is not None:
        reader._waiter = None
        if not waiter.cancelled():
            waiter.set_result(None)
    return 0


cdef int hold_back(object reader) except -1:
    """Nobody reads as fast as this comes: let the transport wait."""
    if reader._transport is None or reader._paused:
        return 0
    try:
        reader._transport.pause_reading()
    except NotImplementedError:
        reader._transport = None
    else:
        reader._paused = True
    return 0
