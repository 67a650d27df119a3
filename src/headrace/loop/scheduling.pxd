from headrace.core.ready_queue cimport ReadyQueue
from headrace.core.timer_heap cimport TimerHeap


cdef class Scheduling:
    cdef ReadyQueue ready
    cdef TimerHeap timers
    cdef bint is_plain           # nobody has put a time(), call_at() ... of his own in their place
    cdef public bint _debug
    cdef public bint _closed
    cdef public bint _stopping
    cdef public object _thread_id
    cdef public object _task_factory
    cdef dict future_keywords    # what a Future is made with; None once the loop is closed

    cdef double now(self) except? -1
    cdef int wake(self) noexcept
    cdef bint waits_natively(self) noexcept
