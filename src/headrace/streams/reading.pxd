from headrace.loop.awaitable cimport Awaitable
from headrace.streams.reader_core cimport ReaderCore


cdef class Reading(Awaitable):
    cdef ReaderCore reader
    cdef int kind
    cdef Py_ssize_t count     # wanted; or, of a line, how far there is no separator
    cdef object separator
    cdef list blocks          # of a read to the end
    cdef object future        # that is waited for

    cdef object wait(self, str name)
    cdef object read_some(self)
    cdef object read_all(self)
    cdef object read_exactly(self)
    cdef object read_until(self)
    cdef object read_line(self)
    cdef object find(self)
    cdef object incomplete(self, object expected)


cdef class NativeReader(ReaderCore):
    cdef Reading reading(self, int kind)
