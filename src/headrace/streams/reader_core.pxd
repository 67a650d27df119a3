from cpython.object cimport PyObject


cdef class ReaderCore:
    cdef object __weakref__
    cdef dict __dict__        # as asyncio's has; made when somebody puts something in it
    cdef PyObject **feeder    # BORROWED: where the protocol that feeds it has its address, or NULL
    cdef object loop
    cdef object transport
    cdef object waiter        # what whoever waits for data waits for
    cdef object error
    cdef object given_limit
    cdef public object _source_traceback
    # What has come and was not read: nothing, or one piece, or the bytearray.
    cdef bytes piece
    cdef Py_ssize_t start     # of what is left of the piece
    cdef bytearray gathered
    cdef Py_ssize_t limit
    cdef bint eof
    cdef bint paused
    cdef bint is_plain        # no subclass in Python has put a method of its own in place of ours

    cdef Py_ssize_t size(self) noexcept
    cdef const char *data(self) noexcept
    cdef bytes take(self, Py_ssize_t count)
    cdef int drop(self, Py_ssize_t count) except -1
    cdef bytearray gather(self)
    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int feed_object(self, object data) except -1
    cdef int fed(self) except -1
    cdef bint holds_nothing(self) except -1
    cdef int hold_back(self) except -1
    cdef int resume_if_low(self) except -1
    cdef object begin_wait(self, str name)


cdef object current_loop()
