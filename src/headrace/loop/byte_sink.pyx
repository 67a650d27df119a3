"""A protocol that takes bytes where they lie, in the buffer that they were received into.

What `data_received()` is for Python, `take()` is for native protocols: no object is made on the
way.  The connection's context is entered only for those that call code of the user's.
"""

from headrace.core.ready_queue cimport Runnable


cdef class ByteSink(Runnable):
    cdef bint takes_bytes(self) noexcept:
        """Not where a subclass in Python wants to see the data itself: asked once."""
        return True

    cdef bint calls_users(self) noexcept:
        """Does code of the user's run within take()?  It wants the connection's context."""
        return False

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        """*size* bytes at *data*, the transport's until this returns."""
        raise NotImplementedError(f"{type(self).__name__}.take")
