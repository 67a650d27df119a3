"""The buffers that io_uring receives into: a ring of them, provided to the kernel.

The kernel takes of the ring's buffers for each piece of data and says the buffer's number in the
completion; the loop copies, and when all that was taken of a buffer has been copied it is
published again.

* Incremental buffers (Linux 6.12).  A buffer serves one piece after the other until it is full, so
  that a hundred messages of 1 KiB lie in four buffers and not in a hundred: 8 % less CPU time for
  a server in C.  A completion does not say where its piece begins, so that it is the sum of those
  before.  Hence only from Linux 6.16 on, which posts completions in the order in which the buffer
  was filled: before, one that ends a request could come after others that were later.
* A window.  The kernel takes buffers in the order of the ring, all in turn, so that what is
  published decides how much memory is touched: up to 8 MiB, or 256 KiB.  Only as many buffers are
  published as twice what a turn takes; which ones is a stack, the last used first.
* What is lent is remembered here, because a new ring (another thread, a forked child) must not be
  given that.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.kernel cimport uring as h
from headrace.kernel.errno cimport EINVAL
from headrace.kernel.unistd cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)

cdef enum:
    # As many as a completion can name: the rest would wait for the next turn.  What is never used
    # of the tables for them is never touched.
    PIECES_MAX = 65535
    WINDOW_MIN = 8
    # So many turns without need before there is less.
    CALM_TURNS = 1024


cdef class RingBuffers(BufferPool):
    """The provided-buffer ring: numbers travel to the kernel, and back in completions."""

    def __cinit__(self, int count, size_t size):
        cdef void *places
        self.piece_max = PIECES_MAX
        self.window = count
        self.ring = <h.io_uring_buf_ring *>mmap(
            NULL, count * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        if <void *>self.ring == MAP_FAILED:
            self.ring = NULL
            raise MemoryError()
        self.buffers = <Buffer *>calloc(count, sizeof(Buffer))
        self.idle_pieces = <unsigned short *>malloc(self.piece_max * sizeof(unsigned short))
        self.buffer_of = <unsigned short *>malloc(self.piece_max * sizeof(unsigned short))
        places = realloc(self.places, self.piece_max * sizeof(char *))
        if places != NULL:
            self.places = <char **>places
        if (
            self.buffers == NULL or self.idle_pieces == NULL or self.buffer_of == NULL
            or places == NULL
        ):
            raise MemoryError()

    def __dealloc__(self):
        free(self.buffers)
        free(self.idle_pieces)
        free(self.buffer_of)
        if self.ring != NULL:
            munmap(self.ring, self.count * 16)

    # With the kernel.

    cdef int register(self, h.io_uring *ring) noexcept:
        """Give the ring to the kernel, with buffers that are not lent; 0 or an errno."""
        cdef int error
        self.is_incremental = self.may_be_incremental
        error = self.try_register(ring)
        if error == EINVAL and self.is_incremental:
            self.is_incremental = False
            error = self.try_register(ring)
        if error:
            return error
        self.is_registered = True
        self.reset()
        self.publish()
        return 0

    cdef int try_register(self, h.io_uring *ring) noexcept:
        cdef h.headrace_buf_reg registration
        memset(&registration, 0, sizeof(registration))
        registration.ring_addr = <uint64_t>self.ring
        registration.ring_entries = self.count
        registration.bgid = self.group
        if self.is_incremental:
            registration.flags = h.HEADRACE_PBUF_RING_INC
        h.io_uring_buf_ring_init(self.ring)
        return -h.io_uring_register_buf_ring(ring, <h.io_uring_buf_reg *>&registration, 0)

    cdef void reset(self) noexcept:
        """The kernel has none of them."""
        cdef int number
        self.published = 0
        self.spare_count = 0
        self.window = min(WINDOW_MIN, self.count) if self.is_incremental else self.count
        for number in range(self.count - 1, -1, -1):
            if self.buffers[number].pieces:
                self.buffers[number].is_done = True
            else:
                self.spare(number)

    cdef void top_up(self) noexcept:
        """Before a wait, when all pieces are back: let the kernel have what a turn takes."""
        if self.published >= self.window:
            return
        if self.is_incremental:
            self.fit_window(self.window - self.published)
        self.publish()

    cdef void publish(self) noexcept:
        cdef int added = 0
        cdef int number
        while self.published < self.window and self.spare_count:
            self.spare_count -= 1
            number = self.idle[self.spare_count]
            self.buffers[number].taken = 0
            h.io_uring_buf_ring_add(
                self.ring, self.memory + <size_t>number * self.size, self.size, number,
                h.io_uring_buf_ring_mask(self.count), added,
            )
            added += 1
            self.published += 1
        h.io_uring_buf_ring_advance(self.ring, added)

    cdef void fit_window(self, int taken) noexcept:
        """*taken* buffers were used up in a turn: there should be twice as many."""
        self.taken_max = max(self.taken_max, taken)
        self.calm_turns += 1
        if self.is_starved or 2 * taken > self.window:
            self.is_starved = False
            self.window = min(2 * self.window, self.count)
        elif self.calm_turns >= CALM_TURNS:
            if 4 * self.taken_max < self.window:
                self.window = max(self.window // 2, min(WINDOW_MIN, self.count))
        else:
            return
        self.calm_turns = 0
        self.taken_max = 0

    cdef void starve(self) noexcept:
        """The kernel had data, and no buffer."""
        self.is_starved = True

    # Pieces.

    cdef int lend(self, int number, unsigned int size, bint more) noexcept:
        """The kernel has put *size* bytes into *number*: a piece, the receiver's until released.

        *more*: it will put others into the rest.
        """
        cdef Buffer *buffer = &self.buffers[number]
        cdef int piece
        if self.idle_piece_count:
            self.idle_piece_count -= 1
            piece = self.idle_pieces[self.idle_piece_count]
        else:
            piece = self.pieces_used
            self.pieces_used += 1
        self.buffer_of[piece] = number
        self.places[piece] = self.memory + <size_t>number * self.size + buffer.taken
        buffer.taken += size
        if buffer.pieces == 0:
            self.idle_count -= 1
        buffer.pieces += 1
        if not more:
            self.done(number)
        return piece

    cdef void done(self, int number) noexcept:
        """The kernel is done with *number*."""
        self.published -= 1
        if self.buffers[number].pieces:
            self.buffers[number].is_done = True
        else:
            self.spare(number)

    cdef void release(self, int piece) noexcept:
        cdef int number = self.buffer_of[piece]
        cdef Buffer *buffer = &self.buffers[number]
        self.idle_pieces[self.idle_piece_count] = piece
        self.idle_piece_count += 1
        buffer.pieces -= 1
        if buffer.pieces == 0:
            self.idle_count += 1
            if buffer.is_done:
                buffer.is_done = False
                self.spare(number)

    cdef void spare(self, int number) noexcept:
        self.idle[self.spare_count] = number
        self.spare_count += 1
