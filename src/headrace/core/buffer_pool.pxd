cdef class BufferPool:
    cdef readonly int count
    cdef readonly size_t size
    cdef char *memory
    cdef char **places  # OWNS: where each number stands, freed in __dealloc__
    cdef int *idle
    cdef readonly int idle_count

    cdef int acquire(self) noexcept
    cdef void release(self, int number) noexcept
    cdef inline char *address(self, int number) noexcept:
        return self.places[number]
