cdef int real_time_signal() except -1
