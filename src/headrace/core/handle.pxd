from headrace.core.timer_heap cimport Timer, TimerHeap


cdef class Handle(Timer):
    cdef object callback
    cdef tuple arguments
    cdef object context
    cdef object loop
    cdef bint is_cancelled
    cdef public object _source_traceback

    cdef int fail(self, object context) except -1
    cdef int report_failure(self) except -1


cdef class TimerHandle(Handle):
    cdef readonly object _when  # as it was given: an int stays one
    cdef TimerHeap heap


cdef Handle make_handle(object loop, object callback, tuple arguments, object context)
