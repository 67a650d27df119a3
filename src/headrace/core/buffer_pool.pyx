"""The buffer pool: where bytes land before they become a bytes object of their exact size.

Fact: receiving straight into a large bytes object and shrinking it costs an mmap, page faults
and a munmap for each receive (glibc's mmap threshold; stock asyncio pays about 12 us).  So
bytes are received into one of a few long-lived buffers and copied once into an object of their
size.  The memory is anonymous and untouched until used: a pool costs what was received into it.
Idle buffers are a stack, so that the last one used, still in the cache, is the next one used.
"""

from libc.stdlib cimport free, malloc

from headrace.kernel.unistd cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)


cdef class BufferPool:
    def __cinit__(self, int count, size_t size):
        cdef int number
        if count < 1 or size < 1:
            raise ValueError(f"a pool needs buffers with room: {count=}, {size=}")
        self.count = count
        self.size = size
        self.memory = <char *>mmap(
            NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        if <void *>self.memory == MAP_FAILED:
            self.memory = NULL
            raise MemoryError()
        self.idle = <int *>malloc(count * sizeof(int))
        self.places = <char **>malloc(count * sizeof(char *))
        if self.idle == NULL or self.places == NULL:
            raise MemoryError()
        self.idle_count = count
        for number in range(count):
            self.idle[number] = count - 1 - number
            self.places[number] = self.memory + number * size

    def __dealloc__(self):
        free(self.idle)
        free(self.places)
        if self.memory != NULL:
            munmap(self.memory, self.count * self.size)

    def __repr__(self):
        return f"<BufferPool idle={self.idle_count}/{self.count} size={self.size}>"

    cdef int acquire(self) noexcept:
        """The number of a buffer that is now the caller's; -1 when none is idle."""
        if self.idle_count == 0:
            return -1
        self.idle_count -= 1
        return self.idle[self.idle_count]

    cdef void release(self, int number) noexcept:
        """The caller is done with *number*; the next receive may overwrite it."""
        self.idle[self.idle_count] = number
        self.idle_count += 1
