from cpython.object cimport PyObject

cdef class Awaitable:
    cdef object waiting       # what it waits for: a Waiter, the iterator of a future, a coroutine
    cdef bint begun
    cdef bint ended

    cdef object attempt(self)
    cdef int wait_is_over(self) except -1
    cdef int wait_has_ended(self) except -1
    cdef int ask(self, PyObject **result) except -2
    cdef int step(self, object value, PyObject **result) except -2
    cdef str what(self)
