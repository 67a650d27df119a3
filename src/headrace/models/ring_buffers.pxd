from headrace.core.buffer_pool cimport BufferPool
from headrace.kernel.uring cimport io_uring, io_uring_buf_ring

cdef class RingBuffers(BufferPool):
    cdef unsigned short group  # what submission entries call it
    cdef bint is_registered    # with the ring that there is now
    cdef io_uring_buf_ring *ring  # OWNS: anonymous memory, unmapped in __dealloc__
    cdef bint *is_lent            # OWNS: by number, freed in __dealloc__

    cdef int register(self, io_uring *ring) noexcept
    cdef void publish(self, int number, int offset) noexcept
    cdef void lend(self, int number) noexcept
