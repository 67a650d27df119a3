"""The timer heap: a 4-ary heap of deadlines whose entries know their place.

Cancelling takes the entry out at once, O(log n), so that a million timers set and cancelled
(every request's time-out) leave nothing behind; asyncio's heapq keeps cancelled handles until
they are half of all.  Four children share a cache line pair, and timers mostly arrive in
deadline order, where a push is one comparison.  Equal deadlines fire in the order they were set.
"""

from libc.stdlib cimport free, realloc

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from headrace.core.collector cimport traverse_also, traverseproc, visitproc

cdef Py_ssize_t ARITY = 4
cdef Py_ssize_t CAPACITY_MIN = 64
# A heap at a quarter of a capacity above this gives half of it back.
cdef Py_ssize_t CAPACITY_KEPT = 4096


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
        self.capacity = 0
        self.order = 0

    def __dealloc__(self):
        self.clear()
        free(self.entries)

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"<TimerHeap count={self.count} capacity={self.capacity}>"

    cdef int push(self, Timer timer, double when) except -1:
        """Put *timer* in, due at *when*.  It must not be in a heap already."""
        cdef TimerEntry entry
        if self.count == self.capacity:
            self.resize(max(CAPACITY_MIN, self.capacity * 2))
        entry.when = when
        entry.order = self.order
        entry.timer = <PyObject *>timer
        self.order += 1
        Py_INCREF(timer)
        self.count += 1
        self.sift_up(self.count - 1, entry)
        return 0

    cdef int remove(self, Timer timer) except -1:
        """Take *timer* out, wherever it stands; nothing happens if it is in no heap."""
        if timer.position < 0:
            return 0
        self.take_out(timer.position)
        timer.position = -1
        Py_DECREF(timer)
        if self.capacity > CAPACITY_KEPT and self.count * 4 < self.capacity:
            self.resize(self.capacity // 2)
        return 0

    cdef Timer pop(self):
        """Take out and answer the first timer.  The heap must not be empty."""
        cdef Timer timer = <Timer>self.entries[0].timer
        self.take_out(0)
        timer.position = -1
        Py_DECREF(timer)
        return timer

    cdef void clear(self) noexcept:
        cdef Timer timer
        while self.count:
            self.count -= 1
            timer = <Timer>self.entries[self.count].timer
            timer.position = -1
            Py_DECREF(timer)

    cdef int resize(self, Py_ssize_t capacity) except -1:
        cdef TimerEntry *entries
        entries = <TimerEntry *>realloc(self.entries, capacity * sizeof(TimerEntry))
        if entries == NULL:
            raise MemoryError()
        self.entries = entries
        self.capacity = capacity
        return 0

    cdef void take_out(self, Py_ssize_t position) noexcept:
        """Close the gap at *position* with the last entry, moved up or down to its place."""
        cdef TimerEntry last
        self.count -= 1
        if position == self.count:
            return
        last = self.entries[self.count]
        if position > 0 and is_before(&last, &self.entries[(position - 1) // ARITY]):
            self.sift_up(position, last)
        else:
            self.sift_down(position, last)

    cdef void place(self, Py_ssize_t position, TimerEntry entry) noexcept:
        self.entries[position] = entry
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
            if first >= self.count:
                break
            last = min(first + ARITY, self.count)
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
    for index in range(heap.count):
        answer = visit(heap.entries[index].timer, argument)
        if answer:
            return answer
    return traverse_members(<PyObject *>heap, visit, argument)


cdef traverseproc traverse_members = traverse_also(TimerHeap, <traverseproc>traverse)
