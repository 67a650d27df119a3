"""<sys/select.h>."""

from headrace.kernel.time cimport timespec

cdef extern from "<sys/select.h>" nogil:
    ctypedef struct fd_set:
        pass

    int FD_SETSIZE
    void FD_ZERO(fd_set *fds)
    void FD_SET(int fd, fd_set *fds)
    void FD_CLR(int fd, fd_set *fds)
    int FD_ISSET(int fd, fd_set *fds)
    int pselect(
        int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
        const timespec *timeout, const void *signals,
    )
