"""<unistd.h>, <fcntl.h>, <pthread.h>, <sys/mman.h>: descriptors, forks, anonymous memory."""

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t read(int fd, void *buffer, size_t length)
    ssize_t write(int fd, const void *buffer, size_t length)

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    """
    int F_GETFD, F_GETFL, F_SETFL, F_GETPIPE_SZ, F_DUPFD_CLOEXEC, O_NONBLOCK
    int fcntl(int fd, int command)
    int set_flags "fcntl"(int fd, int command, int flags)

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(void (*prepare)() noexcept, void (*parent)() noexcept,
                       void (*child)() noexcept)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
