"""<liburing.h>, and the constants that are newer than Debian 12's copy of it (2.3)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from headrace.kernel.file cimport statx_result
from headrace.kernel.socket cimport msghdr, sockaddr, socklen_t

cdef extern from *:
    """
    #include <liburing.h>
    #ifndef __NR_io_uring_setup
    #define __NR_io_uring_setup 425
    #endif
    /* Linux 6.12: buffers of a ring that are taken piece by piece. */
    #define HEADRACE_PBUF_RING_INC 2
    #define HEADRACE_CQE_F_BUF_MORE (1u << 4)
    /* struct io_uring_buf_reg, whose field of flags was padding before. */
    struct headrace_buf_reg {
        __u64 ring_addr;
        __u32 ring_entries;
        __u16 bgid;
        __u16 flags;
        __u64 resv[3];
    };
    _Static_assert(
        sizeof(struct headrace_buf_reg) == sizeof(struct io_uring_buf_reg), "another layout");
    """
    unsigned short HEADRACE_PBUF_RING_INC
    unsigned int HEADRACE_CQE_F_BUF_MORE

    struct headrace_buf_reg:
        uint64_t ring_addr
        uint32_t ring_entries
        uint16_t bgid
        uint16_t flags

cdef extern from "<liburing.h>" nogil:
    struct io_uring_sqe:
        uint8_t opcode
        uint8_t flags
        uint16_t ioprio
        int32_t fd
        uint64_t user_data
        uint16_t buf_group

    struct io_uring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags

    struct io_uring_buf_ring:
        pass

    struct io_uring_buf_reg:
        uint64_t ring_addr
        uint32_t ring_entries
        uint16_t bgid

    struct io_uring_params:
        uint32_t flags
        uint32_t features
        uint32_t cq_entries

    struct io_uring_sq:
        unsigned int *kflags

    struct io_uring:
        io_uring_sq sq
        int ring_fd
        uint32_t features
        uint32_t flags

    struct __kernel_timespec:
        long long tv_sec
        long long tv_nsec

    unsigned int IORING_SETUP_CLAMP, IORING_SETUP_CQSIZE, IORING_SETUP_COOP_TASKRUN
    unsigned int IORING_SETUP_TASKRUN_FLAG, IORING_SETUP_SINGLE_ISSUER
    unsigned int IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_R_DISABLED
    unsigned int IORING_SQ_TASKRUN, IORING_SQ_CQ_OVERFLOW
    unsigned int IORING_CQE_F_BUFFER, IORING_CQE_F_MORE
    unsigned int IORING_CQE_BUFFER_SHIFT
    unsigned int IORING_FEAT_NODROP, IORING_FEAT_EXT_ARG, IORING_FEAT_CQE_SKIP
    unsigned int IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS
    unsigned int IORING_RECV_MULTISHOT
    unsigned int IORING_ASYNC_CANCEL_ANY, IORING_ASYNC_CANCEL_ALL

    int io_uring_queue_init_params(unsigned int entries, io_uring *ring, io_uring_params *params)
    void io_uring_queue_exit(io_uring *ring)
    int io_uring_enable_rings(io_uring *ring)
    io_uring_sqe *io_uring_get_sqe(io_uring *ring)
    unsigned int io_uring_sq_ready(io_uring *ring)
    unsigned int io_uring_cq_ready(io_uring *ring)
    int io_uring_submit(io_uring *ring)
    int io_uring_submit_and_wait(io_uring *ring, unsigned int count)
    int io_uring_submit_and_get_events(io_uring *ring)
    int io_uring_submit_and_wait_timeout(
        io_uring *ring, io_uring_cqe **cqe, unsigned int count, __kernel_timespec *timeout,
        void *signals,
    )
    unsigned int io_uring_peek_batch_cqe(
        io_uring *ring, io_uring_cqe **cqes, unsigned int count
    )
    void io_uring_cq_advance(io_uring *ring, unsigned int count)
    int io_uring_register_buf_ring(io_uring *ring, io_uring_buf_reg *reg, unsigned int flags)
    void io_uring_buf_ring_init(io_uring_buf_ring *ring)
    void io_uring_buf_ring_add(
        io_uring_buf_ring *ring, void *address, unsigned int length, unsigned short number,
        int mask, int offset,
    )
    void io_uring_buf_ring_advance(io_uring_buf_ring *ring, int count)
    int io_uring_buf_ring_mask(unsigned int count)

    void io_uring_sqe_set_data64(io_uring_sqe *sqe, uint64_t data)
    void io_uring_prep_multishot_accept(
        io_uring_sqe *sqe, int fd, sockaddr *address, socklen_t *length, int flags
    )
    void io_uring_prep_recv(io_uring_sqe *sqe, int fd, void *buffer, size_t length, int flags)
    void io_uring_prep_send(
        io_uring_sqe *sqe, int fd, const void *buffer, size_t length, int flags
    )
    void io_uring_prep_recvmsg_multishot(
        io_uring_sqe *sqe, int fd, msghdr *message, unsigned int flags
    )
    void io_uring_prep_connect(
        io_uring_sqe *sqe, int fd, const sockaddr *address, socklen_t length
    )
    void io_uring_prep_poll_add(io_uring_sqe *sqe, int fd, unsigned int events)
    void io_uring_prep_cancel64(io_uring_sqe *sqe, uint64_t data, int flags)

    struct io_uring_probe:
        pass

    int IORING_OP_CLOSE, IORING_OP_FSYNC, IORING_OP_LINKAT, IORING_OP_MKDIRAT, IORING_OP_OPENAT
    int IORING_OP_READ, IORING_OP_RENAMEAT, IORING_OP_SPLICE, IORING_OP_STATX
    int IORING_OP_SYMLINKAT, IORING_OP_UNLINKAT, IORING_OP_WRITE
    unsigned int IORING_FSYNC_DATASYNC, IOSQE_ASYNC

    io_uring_probe *io_uring_get_probe_ring(io_uring *ring)
    void io_uring_free_probe(io_uring_probe *probe)
    int io_uring_opcode_supported(const io_uring_probe *probe, int opcode)
    void io_uring_prep_rw(
        int opcode, io_uring_sqe *sqe, int fd, const void *address, unsigned int length,
        uint64_t offset,
    )
    void io_uring_prep_read(
        io_uring_sqe *sqe, int fd, void *buffer, unsigned int length, uint64_t offset
    )
    void io_uring_prep_write(
        io_uring_sqe *sqe, int fd, const void *buffer, unsigned int length, uint64_t offset
    )
    void io_uring_prep_fsync(io_uring_sqe *sqe, int fd, unsigned int flags)
    void io_uring_prep_close(io_uring_sqe *sqe, int fd)
    void io_uring_prep_openat(
        io_uring_sqe *sqe, int folder, const char *path, int flags, unsigned int mode
    )
    void io_uring_prep_statx(
        io_uring_sqe *sqe, int folder, const char *path, int flags, unsigned int mask,
        statx_result *result,
    )
    void io_uring_prep_renameat(
        io_uring_sqe *sqe, int folder, const char *path, int other_folder, const char *other,
        unsigned int flags,
    )
    void io_uring_prep_unlinkat(io_uring_sqe *sqe, int folder, const char *path, int flags)
    void io_uring_prep_mkdirat(
        io_uring_sqe *sqe, int folder, const char *path, unsigned int mode
    )
    void io_uring_prep_linkat(
        io_uring_sqe *sqe, int folder, const char *path, int other_folder, const char *other,
        int flags,
    )
    void io_uring_prep_symlinkat(
        io_uring_sqe *sqe, const char *target, int folder, const char *path
    )
    void io_uring_prep_splice(
        io_uring_sqe *sqe, int fd, int64_t offset, int other, int64_t other_offset,
        unsigned int length, unsigned int flags,
    )
