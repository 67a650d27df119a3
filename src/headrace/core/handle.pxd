from cpython.object cimport PyObject

from headrace.core.timer_heap cimport Timer, TimerHeap


cdef class Handle(Timer):
    cdef object __weakref__
    cdef object callback
    cdef object argument        # the only one, where there is one: it needs no tuple
    cdef tuple arguments        # all, where there are more
    cdef Py_ssize_t argument_count
    cdef object context
    cdef object loop
    cdef bint is_cancelled
    cdef bint in_debug          # the loop was in debug mode when this was made
    cdef public object _source_traceback

    cdef int fill(
        self, object loop, PyObject **values, Py_ssize_t count, PyObject *context
    ) except -1
    cdef int fail_to_enter(self) except -1
    cdef int fail(self, object context) except -1
    cdef int report_failure(self) except -1


cdef class TimerHandle(Handle):
    cdef double when_s
    cdef object given           # when_s as it was given, where it was no float: an int stays one
    cdef TimerHeap heap


cdef Handle make_handle(object loop, object callback, tuple arguments, object context)
