from cpython.object cimport PyObject

from headrace.core.ready_queue cimport Runnable
from headrace.loop.scheduling cimport Scheduling

ctypedef PyObject *(*vectorcallfunc)(
    PyObject *callable, PyObject **values, size_t count, PyObject *names
) except NULL

cdef enum:
    WAITS
    FINISHED
    FAILED
    CANCELLED


cdef class Waiter(Runnable):
    cdef Scheduling loop
    cdef object callback      # of the task that waits ...
    cdef object context       # ... and what it is called in
    cdef list others          # callbacks beyond the first, with their contexts: nearly never
    cdef object error         # why it failed, or the message of its cancellation
    cdef int state
    cdef bint is_asked        # it was yielded, and no task has taken it yet

    cdef bint is_pending(self) noexcept
    cdef int finish(self) except -1
    cdef int end(self, int state, object error) except -1
    cdef int add(self, object callback, object context) except -1
    cdef int schedule(self, object callback, object context) except -1
    cdef int raise_outcome(self) except -1
    cdef int fail(self, object callback, object context, bint entered) except -1


cdef class WaiterMethod:
    cdef vectorcallfunc function
    cdef Waiter waiter


cdef Waiter make_waiter(Scheduling loop)
