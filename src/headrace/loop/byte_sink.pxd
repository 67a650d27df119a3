cdef class ByteSink:
    cdef bint takes_bytes(self) noexcept
    cdef int take(self, const char *data, Py_ssize_t size) except -1
