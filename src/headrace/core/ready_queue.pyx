"""The ready queue: all that the loop will run in its next turn, in order.

One queue for call_soon() handles, due timers and completed operations, so that their order is
asyncio's: what was scheduled first runs first.  An entry is 16 bytes in a ring; a completion
needs no object of its own, its result and flags travel beside the operation.
"""

from libc.stdlib cimport free, malloc

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from headrace.core.collector cimport traverse_also, traverseproc, visitproc

cdef size_t CAPACITY_INITIAL = 64
# A burst must not hold its memory for ever: an emptied queue larger than this is given back.
cdef size_t CAPACITY_KEPT = 65536


cdef class Runnable:
    cdef int run(self, int result, unsigned int flags) except -1:
        raise NotImplementedError(f"{type(self).__name__}.run")

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        """The queue was cleared before this came up: give back what the entry carries."""

    cdef bint is_housekeeping(self) noexcept:
        """The engine's own affair, which is nobody's slow callback?"""
        return False


cdef class ReadyQueue:
    def __cinit__(self):
        self.entries = <ReadyEntry *>malloc(CAPACITY_INITIAL * sizeof(ReadyEntry))
        if self.entries == NULL:
            raise MemoryError()
        self.mask = CAPACITY_INITIAL - 1
        self.head = 0
        self.count = 0

    def __dealloc__(self):
        if self.entries != NULL:
            self.clear()
            free(self.entries)

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"<ReadyQueue count={self.count} capacity={self.mask + 1}>"

    cdef bint holds(self, Runnable runnable) noexcept:
        """Has something of *runnable* not come up yet?  Looks at every entry."""
        cdef size_t index
        for index in range(self.count):
            if self.entries[(self.head + index) & self.mask].runnable == <PyObject *>runnable:
                return True
        return False

    cdef int grow(self) except -1:
        cdef size_t index
        cdef size_t capacity = (self.mask + 1) * 2
        cdef ReadyEntry *entries = <ReadyEntry *>malloc(capacity * sizeof(ReadyEntry))
        if entries == NULL:
            raise MemoryError()
        for index in range(self.count):
            entries[index] = self.entries[(self.head + index) & self.mask]
        free(self.entries)
        self.entries = entries
        self.head = 0
        self.mask = capacity - 1
        return 0

    cdef void clear(self) noexcept:
        """Drop all entries without running them."""
        cdef ReadyEntry entry
        cdef Runnable runnable
        while self.count:
            entry = self.entries[self.head]
            runnable = <Runnable>entry.runnable
            self.head = (self.head + 1) & self.mask
            self.count -= 1
            Py_DECREF(runnable)
            runnable.dropped(entry.result, entry.flags)

    cdef void shrink(self) noexcept:
        """Give a burst's memory back.  The queue must be empty."""
        cdef ReadyEntry *entries
        if self.mask < CAPACITY_KEPT:
            return
        entries = <ReadyEntry *>malloc(CAPACITY_INITIAL * sizeof(ReadyEntry))
        if entries == NULL:
            return
        free(self.entries)
        self.entries = entries
        self.head = 0
        self.mask = CAPACITY_INITIAL - 1


cdef int traverse(ReadyQueue queue, visitproc visit, void *argument) noexcept:
    """See core/collector.pxd."""
    cdef int answer
    cdef size_t index
    for index in range(queue.count):
        answer = visit(queue.entries[(queue.head + index) & queue.mask].runnable, argument)
        if answer:
            return answer
    return traverse_members(<PyObject *>queue, visit, argument)


cdef traverseproc traverse_members = traverse_also(ReadyQueue, <traverseproc>traverse)
