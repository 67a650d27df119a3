from cpython.object cimport PyObject

cdef class Awaitable:
    cdef object waiting       # what it waits for: the iterator of a future, or a coroutine
    cdef bint begun
    cdef bint ended

    cdef object attempt(self)
    cdef int wait_is_over(self) except -1
    cdef int step(self, object value, PyObject **result) except -2
    cdef str what(self)
