"""Operations on files as the ring's submission entries, and which of them this kernel knows.

The kernel tries a read without waiting; what would wait, and all that changes names, a thread of
its own does (io-wq).  It cannot be called back once it has begun, unless it waits where a signal
reaches it: the opening of a FIFO, a read of a terminal.

A surprise: the attempt to open without waiting is an open(2) with O_NONBLOCK (Linux 6.18), which
opens a FIFO that nobody writes to, and so a reader finds an end where open(2) waits for the writer.
So files are opened by the kernel's thread from the first, which costs some ten microseconds.
"""

from libc.stdint cimport uint64_t

from headrace.core.file_operation cimport FileOperation
from headrace.core.statistics cimport (
    KIND_COUNT, KIND_FILE_CLOSE, KIND_FILE_LINK, KIND_FILE_MKDIR, KIND_FILE_OPEN, KIND_FILE_READ,
    KIND_FILE_REMOVE, KIND_FILE_RENAME, KIND_FILE_SPLICE, KIND_FILE_STAT, KIND_FILE_SYMLINK,
    KIND_FILE_SYNC, KIND_FILE_TRUNCATE, KIND_FILE_WRITE,
)
from headrace.kernel cimport uring as h
from headrace.kernel.file cimport AT_FDCWD, STATX_BASIC_STATS

# Linux 6.9; newer than Debian 12's liburing.
cdef int OP_FTRUNCATE = 55
# As much as files move at once by themselves.
cdef unsigned int INLINE_BYTES_MAX = 256 * 1024

# By kind: what the kernel knows, asked once in a process (a kernel does not change).
cdef bint is_asked = False
cdef bint is_known[KIND_COUNT]


cdef int opcode_of(int kind) noexcept:
    """The ring's number for *kind*, -1 if there is none."""
    if kind == KIND_FILE_READ:
        return h.IORING_OP_READ
    if kind == KIND_FILE_WRITE:
        return h.IORING_OP_WRITE
    if kind == KIND_FILE_OPEN:
        return h.IORING_OP_OPENAT
    if kind == KIND_FILE_CLOSE:
        return h.IORING_OP_CLOSE
    if kind == KIND_FILE_STAT:
        return h.IORING_OP_STATX
    if kind == KIND_FILE_SYNC:
        return h.IORING_OP_FSYNC
    if kind == KIND_FILE_TRUNCATE:
        return OP_FTRUNCATE
    if kind == KIND_FILE_SPLICE:
        return h.IORING_OP_SPLICE
    return opcode_of_path(kind)


cdef int opcode_of_path(int kind) noexcept:
    if kind == KIND_FILE_RENAME:
        return h.IORING_OP_RENAMEAT
    if kind == KIND_FILE_REMOVE:
        return h.IORING_OP_UNLINKAT
    if kind == KIND_FILE_MKDIR:
        return h.IORING_OP_MKDIRAT
    if kind == KIND_FILE_LINK:
        return h.IORING_OP_LINKAT
    if kind == KIND_FILE_SYMLINK:
        return h.IORING_OP_SYMLINKAT
    return -1


cdef bint ring_takes_file(h.io_uring *ring, int kind) noexcept:
    """Does this kernel do operations of *kind*?"""
    global is_asked
    cdef h.io_uring_probe *probe
    cdef int each, opcode
    if not is_asked:
        probe = h.io_uring_get_probe_ring(ring)
        if probe == NULL:
            return False  # no memory: another time
        for each in range(KIND_COUNT):
            opcode = opcode_of(each)
            is_known[each] = opcode >= 0 and h.io_uring_opcode_supported(probe, opcode)
        h.io_uring_free_probe(probe)
        is_asked = True
    return is_known[kind]


cdef void move_elsewhere(h.io_uring_sqe *sqe, FileOperation operation) noexcept:
    """Else the page cache's bytes are copied when it is submitted, and hold the loop.

    Not where the descriptor's own position counts: the ring takes it without a lock, and two of
    the kernel's threads would read the same bytes.
    """
    if operation.length > INLINE_BYTES_MAX and operation.offset >= 0:
        sqe.flags |= h.IOSQE_ASYNC


cdef void fill_file(h.io_uring_sqe *sqe, FileOperation operation) noexcept:
    # BORROWS, all of them: the operation keeps its memory and its paths, and the in-flight list
    # the operation, until the terminal completion.
    cdef int kind = operation.kind
    cdef unsigned int length = <unsigned int>operation.length
    if kind == KIND_FILE_READ:
        h.io_uring_prep_read(
            sqe, operation.fd, operation.memory, length, <uint64_t>operation.offset
        )
        move_elsewhere(sqe, operation)
    elif kind == KIND_FILE_WRITE:
        h.io_uring_prep_write(
            sqe, operation.fd, operation.memory, length, <uint64_t>operation.offset
        )
        move_elsewhere(sqe, operation)
    elif kind == KIND_FILE_SYNC:
        h.io_uring_prep_fsync(
            sqe, operation.fd, h.IORING_FSYNC_DATASYNC if operation.call_flags else 0
        )
    elif kind == KIND_FILE_CLOSE:
        h.io_uring_prep_close(sqe, operation.fd)
    elif kind == KIND_FILE_TRUNCATE:
        h.io_uring_prep_rw(
            OP_FTRUNCATE, sqe, operation.fd, NULL, 0, <uint64_t>operation.offset
        )
    elif kind == KIND_FILE_SPLICE:
        h.io_uring_prep_splice(
            sqe, operation.fd, operation.offset, operation.other_fd, operation.other_offset,
            length, <unsigned int>operation.call_flags,
        )
    else:
        fill_path(sqe, operation)


cdef void fill_path(h.io_uring_sqe *sqe, FileOperation operation) noexcept:
    cdef int kind = operation.kind
    cdef const char *path = operation.path_chars
    cdef const char *other = operation.other_chars
    if kind == KIND_FILE_OPEN:
        h.io_uring_prep_openat(sqe, AT_FDCWD, path, operation.call_flags, operation.mode)
        sqe.flags |= h.IOSQE_ASYNC  # see above: a FIFO
    elif kind == KIND_FILE_STAT:
        h.io_uring_prep_statx(
            sqe, operation.other_fd, path, operation.call_flags, STATX_BASIC_STATS,
            operation.status,
        )
    elif kind == KIND_FILE_RENAME:
        h.io_uring_prep_renameat(sqe, AT_FDCWD, path, AT_FDCWD, other, 0)
    elif kind == KIND_FILE_REMOVE:
        h.io_uring_prep_unlinkat(sqe, AT_FDCWD, path, operation.call_flags)
    elif kind == KIND_FILE_MKDIR:
        h.io_uring_prep_mkdirat(sqe, AT_FDCWD, path, operation.mode)
    elif kind == KIND_FILE_LINK:
        h.io_uring_prep_linkat(sqe, AT_FDCWD, path, AT_FDCWD, other, operation.call_flags)
    elif kind == KIND_FILE_SYMLINK:
        h.io_uring_prep_symlinkat(sqe, other, AT_FDCWD, path)
