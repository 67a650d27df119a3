from cpython.object cimport PyObject

from headrace.core.flag cimport flag
from headrace.loop.byte_sink cimport ByteSink


cdef class ProtocolCore(ByteSink):
    cdef object __weakref__
    cdef dict __dict__        # as asyncio's has; made when somebody puts something in it
    cdef public object _loop
    cdef public object _transport
    cdef public object _client_connected_cb
    cdef public object _task
    cdef public object _stream_writer
    cdef public object _strong_reader
    cdef public object _source_traceback
    cdef public object _accepted  # the transport, until the callback's task has ended
    cdef PyObject *fed        # BORROWED: the reader; either clears the other's pointer at its end
    cdef object reference     # to a reader for whom that cannot be done
    cdef object drain_waiters
    cdef object closed
    cdef object error         # with which the connection was lost
    cdef public flag _over_ssl
    cdef public flag _reject_connection
    cdef public flag _paused
    cdef public flag _connection_lost
    cdef flag is_over         # the connection, whether somebody waits for that or not
    cdef flag is_plain        # no subclass in Python wants to see the data ...
    cdef flag drains_as_ours  # ... or has a drain() of its own

    cdef int end_wait(self) except -1
    cdef object reader(self)
    cdef int feeds(self, object reader) except -1
    cdef void feeds_nobody(self) noexcept
