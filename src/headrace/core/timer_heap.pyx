"""The timer heap: a 4-ary heap of deadlines whose entries know their place.

A timer that is cancelled leaves at once (every request's time-out, a million of them), so that
nothing of it is kept: its place becomes a gap of 24 bytes.  Closing the gap right away would move
other entries up and down, O(log n); as soon as gaps are the larger half, all are closed together,
which is O(1) for each.  asyncio's heapq keeps the cancelled handles themselves that long.  Four
children share a cache line pair, and timers mostly arrive in deadline order, where a push is one
comparison.  Equal deadlines fire in the order they were set.
"""

from libc.stdlib cimport free, realloc

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from headrace.core.collector cimport traverse_also, traverseproc, visitproc

cdef Py_ssize_t ARITY = 4
cdef Py_ssize_t CAPACITY_MIN = 64
# A heap at a quarter of a capacity above this gives half of it back.
cdef Py_ssize_t CAPACITY_KEPT = 4096
# So many gaps are not worth closing.
cdef Py_ssize_t GAPS_MAX = 32


cdef class Timer(Runnable):
    def __cinit__(self):
        self.position = -1


cdef inline bint is_before(const TimerEntry *left, const TimerEntry *right) noexcept:
    if left.when != right.when:
        return left.when < right.when
    return left.order < right.order


cdef class TimerHeap:
    def __cinit__(self):
        self.entries = NULL
        self.count = 0
        self.size = 0
        self.capacity = 0
        self.order = 0

    def __dealloc__(self):
        self.clear()
        free(self.entries)

    def __len__(self):
        return self.count

    def __repr__(self):
        gaps = self.size - self.count
        return f"<TimerHeap count={self.count} gaps={gaps} capacity={self.capacity}>"

    cdef int push(self, Timer timer, double when) except -1:
        """Put *timer* in, due at *when*.  It must not be in a heap already."""
        cdef TimerEntry entry
        if self.size == self.capacity:
            self.resize(max(CAPACITY_MIN, self.capacity * 2))
        entry.when = when
        entry.order = self.order
        entry.timer = <PyObject *>timer
        self.order += 1
        Py_INCREF(timer)
        self.count += 1
        self.size += 1
        self.sift_up(self.size - 1, entry)
        return 0

    cdef int remove(self, Timer timer) except -1:
        """Take *timer* out, wherever it stands; nothing happens if it is in no heap."""
        cdef Py_ssize_t position = timer.position
        if position < 0:
            return 0
        timer.position = -1
        self.count -= 1
        if position == self.size - 1:
            self.size -= 1  # the last one leaves no gap
        else:
            self.entries[position].timer = NULL
        Py_DECREF(timer)
        if self.size - self.count > GAPS_MAX and self.size > 2 * self.count:
            return self.close_gaps()
        return 0

    cdef double first_when(self) noexcept:
        """The first deadline.  There must be a timer."""
        while self.entries[0].timer == NULL:
            self.drop_first()
        return self.entries[0].when

    cdef Timer pop(self):
        """Take out and answer the first timer; after first_when(), which has put it there."""
        cdef Timer timer = <Timer>self.entries[0].timer
        self.drop_first()
        self.count -= 1
        timer.position = -1
        Py_DECREF(timer)
        return timer

    cdef void clear(self) noexcept:
        cdef Timer timer
        while self.size:
            self.size -= 1
            if self.entries[self.size].timer == NULL:
                continue
            timer = <Timer>self.entries[self.size].timer
            self.count -= 1
            timer.position = -1
            Py_DECREF(timer)

    cdef int close_gaps(self) except -1:
        """Move the timers together, and put them into a heap's order again."""
        cdef Py_ssize_t position, kept = 0
        for position in range(self.size):
            if self.entries[position].timer != NULL:
                self.place(kept, self.entries[position])
                kept += 1
        self.size = kept
        position = (kept + ARITY - 2) // ARITY  # behind the last one that has children
        while position > 0:
            position -= 1
            self.sift_down(position, self.entries[position])
        if self.capacity > CAPACITY_KEPT and kept * 4 < self.capacity:
            self.resize(self.capacity // 2)
        return 0

    cdef int resize(self, Py_ssize_t capacity) except -1:
        cdef TimerEntry *entries
        entries = <TimerEntry *>realloc(self.entries, capacity * sizeof(TimerEntry))
        if entries == NULL:
            raise MemoryError()
        self.entries = entries
        self.capacity = capacity
        return 0

    cdef void drop_first(self) noexcept:
        """Close the gap that the first entry is, or leaves, with the last one."""
        self.size -= 1
        if self.size:
            self.sift_down(0, self.entries[self.size])

    cdef void place(self, Py_ssize_t position, TimerEntry entry) noexcept:
        self.entries[position] = entry
        if entry.timer != NULL:
            (<Timer>entry.timer).position = position

    cdef void sift_up(self, Py_ssize_t position, TimerEntry entry) noexcept:
        cdef Py_ssize_t parent
        while position > 0:
            parent = (position - 1) // ARITY
            if not is_before(&entry, &self.entries[parent]):
                break
            self.place(position, self.entries[parent])
            position = parent
        self.place(position, entry)

    cdef void sift_down(self, Py_ssize_t position, TimerEntry entry) noexcept:
        cdef Py_ssize_t child, first, last, least
        while True:
            first = position * ARITY + 1
            if first >= self.size:
                break
            last = min(first + ARITY, self.size)
            least = first
            for child in range(first + 1, last):
                if is_before(&self.entries[child], &self.entries[least]):
                    least = child
            if not is_before(&self.entries[least], &entry):
                break
            self.place(position, self.entries[least])
            position = least
        self.place(position, entry)


cdef int traverse(TimerHeap heap, visitproc visit, void *argument) noexcept:
    """See core/collector.pxd."""
    cdef int answer
    cdef Py_ssize_t index
    for index in range(heap.size):
        if heap.entries[index].timer == NULL:
            continue
        answer = visit(heap.entries[index].timer, argument)
        if answer:
            return answer
    return traverse_members(<PyObject *>heap, visit, argument)


cdef traverseproc traverse_members = traverse_also(TimerHeap, <traverseproc>traverse)
