"""The C declarations of the load generator: epoll, sockets and clocks, nothing else."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int count_max, int timeout_ms)


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        AF_UNIX
        SOCK_DGRAM
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
        MSG_NOSIGNAL
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    int socket(int domain, int kind, int protocol)
    int connect(int fd, const sockaddr *address, socklen_t size)
    int bind(int fd, const sockaddr *address, socklen_t size)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t size)


cdef extern from "<netinet/in.h>" nogil:
    enum:
        INADDR_LOOPBACK
        IPPROTO_IP
        IPPROTO_TCP
        IP_BIND_ADDRESS_NO_PORT
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    uint32_t htonl(uint32_t value)
    unsigned short htons(unsigned short value)


cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]


cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY


cdef extern from "<unistd.h>" nogil:
    int close(int fd)


cdef extern from "<errno.h>" nogil:
    int errno
    enum:
        EAGAIN
        EADDRNOTAVAIL
        ECONNRESET
        EINPROGRESS
        EINTR
        EPIPE


cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_MONOTONIC
        CLOCK_THREAD_CPUTIME_ID
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)


cdef inline int64_t clock_ns(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
