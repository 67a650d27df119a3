from headrace.kernel.epoll cimport epoll_event
from headrace.models.reactor cimport Readiness

cdef enum:
    EVENT_COUNT_MAX = 1024


cdef class EpollReadiness(Readiness):
    cdef int epoll_fd
    cdef unsigned int trigger
    cdef epoll_event *events

    cdef int control(self, int operation, int fd, int events) except -1
    cdef int wait_for_events(self, double timeout_s) except -1
    cdef int report_all(self, int count) except -1
