cdef int real_time_signal() except -1
cdef int reserve_signal(str purpose) except -1
