"""The buffers that io_uring receives into: a ring of them, provided to the kernel.

The kernel takes the next buffer of the ring for each piece of data and says its number in the
completion; the loop copies and publishes the number again.  Which ones are lent is remembered
here, because a new ring (another thread, a forked child) must not be given those.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.kernel cimport uring as h
from headrace.kernel.unistd cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)


cdef class RingBuffers(BufferPool):
    """The provided-buffer ring: numbers travel to the kernel, and back in completions."""

    def __cinit__(self, int count, size_t size):
        self.ring = <h.io_uring_buf_ring *>mmap(
            NULL, count * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        if <void *>self.ring == MAP_FAILED:
            self.ring = NULL
            raise MemoryError()
        self.is_lent = <bint *>calloc(count, sizeof(bint))
        if self.is_lent == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.is_lent)
        if self.ring != NULL:
            munmap(self.ring, self.count * 16)

    cdef int register(self, h.io_uring *ring) noexcept:
        """Give the ring, with every buffer that is not lent, to the kernel; 0 or an errno."""
        cdef h.io_uring_buf_reg registration
        cdef int number, error
        cdef int offset = 0
        memset(&registration, 0, sizeof(registration))
        registration.ring_addr = <uint64_t>self.ring
        registration.ring_entries = self.count
        registration.bgid = self.group
        h.io_uring_buf_ring_init(self.ring)
        error = -h.io_uring_register_buf_ring(ring, &registration, 0)
        if error:
            return error
        self.is_registered = True
        for number in range(self.count):
            if not self.is_lent[number]:
                self.publish(number, offset)
                offset += 1
        h.io_uring_buf_ring_advance(self.ring, offset)
        return 0

    cdef void publish(self, int number, int offset) noexcept:
        h.io_uring_buf_ring_add(
            self.ring, self.address(number), self.size, number,
            h.io_uring_buf_ring_mask(self.count), offset,
        )

    cdef void lend(self, int number) noexcept:
        """The kernel has filled *number*: it is the receiver's until released."""
        self.is_lent[number] = True
        self.idle_count -= 1

    cdef void release(self, int number) noexcept:
        self.is_lent[number] = False
        self.idle_count += 1
        self.publish(number, 0)
        h.io_uring_buf_ring_advance(self.ring, 1)
