"""A protocol that takes bytes where they lie, in the buffer that they were received into.

What `data_received()` is for Python, `take()` is for native protocols: no object is made on the
way, and no context entered, since no code of the user's runs in it.
"""


cdef class ByteSink:
    cdef bint takes_bytes(self) noexcept:
        """Not where a subclass in Python wants to see the data itself: asked once."""
        return True

    cdef int take(self, const char *data, Py_ssize_t size) except -1:
        """*size* bytes at *data*, the transport's until this returns."""
        raise NotImplementedError(f"{type(self).__name__}.take")
