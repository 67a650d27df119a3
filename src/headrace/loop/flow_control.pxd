from headrace.core.flag cimport flag
from headrace.loop.connection cimport Connection


cdef class FlowControl(Connection):
    cdef size_t buffered      # bytes that wait to be sent
    cdef size_t high_water
    cdef size_t low_water
    cdef flag protocol_paused

    cdef int set_limits(self, object high, object low) except -1
    cdef int maybe_pause_protocol(self) except -1
    cdef int maybe_resume_protocol(self) except -1
    cdef int tell_protocol(self, str name) except -1


cdef str describe(FlowControl transport, bint paused)
