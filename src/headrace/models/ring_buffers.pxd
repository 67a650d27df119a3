from headrace.core.buffer_pool cimport BufferPool
from headrace.kernel.uring cimport io_uring, io_uring_buf_ring


cdef struct Buffer:
    unsigned int taken       # bytes of it, since it was published
    unsigned int pieces      # of it that somebody has
    bint is_done             # the kernel takes no more of it, but some pieces are out


cdef class RingBuffers(BufferPool):
    cdef unsigned short group  # what submission entries call it
    cdef bint is_registered    # with the ring that there is now
    cdef bint may_be_incremental
    cdef readonly bint is_incremental  # the kernel takes buffers piece by piece
    cdef io_uring_buf_ring *ring  # OWNS: anonymous memory, unmapped in __dealloc__
    cdef Buffer *buffers          # OWNS: by number, freed in __dealloc__

    # Pieces.  Their numbers are what completions carry; `places` of the pool has their addresses.
    cdef public int piece_max      # may be made less, by tests
    cdef int pieces_used           # numbers that were ever in use
    cdef int idle_piece_count
    cdef unsigned short *idle_pieces  # OWNS: a stack of numbers, freed in __dealloc__
    cdef unsigned short *buffer_of    # OWNS: the buffer of each piece, freed in __dealloc__

    # Publishing.  `idle` of the pool is a stack of those that are neither published nor lent.
    cdef int spare_count
    cdef readonly int published    # buffers that the kernel has
    cdef readonly int window       # and how many it is to have
    cdef bint is_starved           # it had none left
    cdef int taken_max             # most that it has taken in one turn of late
    cdef int calm_turns

    cdef int register(self, io_uring *ring) noexcept
    cdef int try_register(self, io_uring *ring) noexcept
    cdef void reset(self) noexcept
    cdef void top_up(self) noexcept
    cdef void publish(self) noexcept
    cdef void fit_window(self, int taken) noexcept
    cdef void starve(self) noexcept
    cdef int lend(self, int number, unsigned int size, bint more) noexcept
    cdef void done(self, int number) noexcept
    cdef void spare(self, int number) noexcept
    cdef inline bint has_piece(self) noexcept:
        return self.idle_piece_count > 0 or self.pieces_used < self.piece_max
