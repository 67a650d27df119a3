"""errno -> exception, in one place.

OSError picks its own subclass from the errno (ConnectionResetError, BrokenPipeError ...), so
that callers see exactly what the socket module would have raised.
"""

import os


cdef object os_error(int errno_value):
    """The OSError for *errno_value* (positive), ready to be raised or handed to a protocol."""
    return OSError(errno_value, os.strerror(errno_value))


cdef int raise_os_error(int errno_value, str doing) except -1:
    """Raise the OSError for *errno_value*, with what was being done in its message."""
    raise OSError(errno_value, f"{doing}: {os.strerror(errno_value)}")
