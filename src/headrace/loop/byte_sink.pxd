from headrace.core.ready_queue cimport Runnable


cdef class ByteSink(Runnable):
    cdef bint takes_bytes(self) noexcept
    cdef bint calls_users(self) noexcept
    cdef bint takes_object(self) noexcept
    cdef int take_object(self, bytes data) except -1
    cdef int take(self, const char *data, Py_ssize_t size) except -1
