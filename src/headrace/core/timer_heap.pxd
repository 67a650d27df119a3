from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from headrace.core.ready_queue cimport Runnable


cdef class Timer(Runnable):
    """What can stand in the heap.  *position* is its place there, -1 outside."""
    cdef Py_ssize_t position


cdef struct TimerEntry:
    double when
    uint64_t order
    PyObject *timer  # OWNS: one reference, released when it leaves the heap.  NULL: a gap.


cdef class TimerHeap:
    cdef TimerEntry *entries
    cdef readonly Py_ssize_t count  # of timers
    cdef Py_ssize_t size            # of entries: timers and gaps
    cdef Py_ssize_t capacity
    cdef uint64_t order
    cdef object for_collector      # None: see core/collector.pxd

    cdef int push(self, Timer timer, double when) except -1
    cdef int remove(self, Timer timer) except -1
    cdef double first_when(self) noexcept
    cdef Timer pop(self)
    cdef void clear(self) noexcept
    cdef int close_gaps(self) except -1
    cdef int resize(self, Py_ssize_t capacity) except -1
    cdef void drop_first(self) noexcept
    cdef void place(self, Py_ssize_t position, TimerEntry entry) noexcept
    cdef void sift_up(self, Py_ssize_t position, TimerEntry entry) noexcept
    cdef void sift_down(self, Py_ssize_t position, TimerEntry entry) noexcept
