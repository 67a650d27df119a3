cdef object os_error(int errno_value)
cdef int raise_os_error(int errno_value, str doing) except -1
