from cpython.object cimport PyObject


cdef class DescriptorTable:
    cdef PyObject **entries  # OWNS: one reference each, released by remove() and clear().
    cdef int size
    cdef readonly int count
    cdef object for_collector      # None: see core/collector.pxd

    cdef int set(self, int fd, object value) except -1
    cdef object remove(self, int fd)
    cdef void clear(self) noexcept
    cdef int grow(self, int needed) except -1
    cdef inline PyObject *get(self, int fd) noexcept:
        """BORROWS: what stands at *fd*, or NULL."""
        if fd < 0 or fd >= self.size:
            return NULL
        return self.entries[fd]
