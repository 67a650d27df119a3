from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from headrace.core.ready_queue cimport Runnable


cdef class Timer(Runnable):
    """What can stand in the heap.  *position* is its place there, -1 outside."""
    cdef Py_ssize_t position


cdef struct TimerEntry:
    double when
    uint64_t order
    PyObject *timer  # OWNS: one reference, released when the entry leaves the heap.


cdef class TimerHeap:
    cdef TimerEntry *entries
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef uint64_t order
    cdef object for_collector      # None: see core/collector.pxd

    cdef int push(self, Timer timer, double when) except -1
    cdef int remove(self, Timer timer) except -1
    cdef Timer pop(self)
    cdef void clear(self) noexcept
    cdef int resize(self, Py_ssize_t capacity) except -1
    cdef void take_out(self, Py_ssize_t position) noexcept
    cdef void place(self, Py_ssize_t position, TimerEntry entry) noexcept
    cdef void sift_up(self, Py_ssize_t position, TimerEntry entry) noexcept
    cdef void sift_down(self, Py_ssize_t position, TimerEntry entry) noexcept
