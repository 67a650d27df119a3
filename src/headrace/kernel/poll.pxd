"""<poll.h>."""

from headrace.kernel.time cimport timespec

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    """
    struct pollfd:
        int fd
        short events
        short revents

    int POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP, POLLPRI, POLLNVAL

    int poll(pollfd *fds, unsigned long count, int timeout_ms)
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *signals)
