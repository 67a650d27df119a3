"""A protocol that takes bytes where they lie, in the buffer that they were received into.

What `data_received()` is for Python, `take()` is for native protocols: no object is made on the
way.  The connection's context is entered only for those that call code of the user's.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from headrace.core.ready_queue cimport Runnable


cdef class ByteSink(Runnable):
    cdef bint takes_bytes(self) noexcept:
        """Not where a subclass in Python wants to see the data itself: asked once."""
        return True

    cdef bint calls_users(self) noexcept:
        """Does code of the user's run within take()?  It wants the connection's context."""
        return False

    cdef bint takes_object(self) noexcept:
        """Would it make a bytes object of the next piece?  A large one can be received into one."""
        return False

    cdef int take_object(self, bytes data) except -1:
        """As take(); *data* may be kept."""
        return self.take(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        """*size* bytes at *data*, the transport's until this returns."""
        raise NotImplementedError(f"{type(self).__name__}.take")
