from libc.stdint cimport uint64_t

cdef enum:
    CALL_ACCEPT4
    CALL_CONNECT
    CALL_EPOLL_CREATE1
    CALL_EPOLL_CTL
    CALL_EPOLL_WAIT
    CALL_FCNTL
    CALL_FUTEX
    CALL_GETSOCKOPT
    CALL_IO_URING_ENTER
    CALL_IO_URING_REGISTER
    CALL_IO_URING_SETUP
    CALL_IOCTL
    CALL_NANOSLEEP
    CALL_POLL
    CALL_PPOLL
    CALL_PREAD64
    CALL_PSELECT
    CALL_PWRITE64
    CALL_READ
    CALL_RECV
    CALL_RECVFROM
    CALL_RECVMMSG
    CALL_RT_SIGQUEUEINFO
    CALL_RT_SIGTIMEDWAIT
    CALL_SCHED_YIELD
    CALL_SEND
    CALL_SENDFILE
    CALL_SENDTO
    CALL_WRITE
    CALL_COUNT

cdef enum:
    KIND_ACCEPT
    KIND_CONNECT
    KIND_FILE_CLOSE
    KIND_FILE_LINK
    KIND_FILE_MKDIR
    KIND_FILE_OPEN
    KIND_FILE_READ
    KIND_FILE_REMOVE
    KIND_FILE_RENAME
    KIND_FILE_SPLICE
    KIND_FILE_STAT
    KIND_FILE_SYMLINK
    KIND_FILE_SYNC
    KIND_FILE_TRUNCATE
    KIND_FILE_WRITE
    KIND_POLL
    KIND_READ
    KIND_RECEIVE
    KIND_RECEIVE_FROM
    KIND_RECEIVE_INTO
    KIND_SEND
    KIND_SEND_TO
    KIND_SENDFILE
    KIND_WRITE
    KIND_COUNT

cdef struct Counters:
    uint64_t loop_iterations
    uint64_t completions
    uint64_t buffer_starvation
    uint64_t completion_overflows
    uint64_t thread_rotations
    uint64_t operations[KIND_COUNT]
    uint64_t system_calls[CALL_COUNT]


cdef class Statistics:
    cdef Counters counters
    cdef dict other_system_calls
