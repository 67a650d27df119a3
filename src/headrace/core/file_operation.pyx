"""The operations on files and on their names.

Whether a file can be read at once shows only when it is read: there is no "ready" to wait for, as
there is on a socket.  So these operations are not for readiness models.  Who cannot hand them to
the kernel (a ring) has a thread do them: work() runs in any thread, and reads no Python object
while it does.

What the kernel has been asked for it may do however soon somebody wants it back.  So a read
brings its bytes into memory that is the operation's until the end, at an offset that is not the
descriptor's own, and the end always comes: `result` says what has happened, whether the one who
asked was cancelled or not.  A descriptor that was opened for nobody is closed by its operation.
"""

import os

from libc.stdlib cimport calloc, free

from headrace.core.operation cimport OUTCOME_DONE, Operation, Outcome
from headrace.core.ready_queue cimport MORE
from headrace.core.statistics cimport (
    KIND_FILE_CLOSE, KIND_FILE_LINK, KIND_FILE_MKDIR, KIND_FILE_OPEN, KIND_FILE_READ,
    KIND_FILE_REMOVE, KIND_FILE_RENAME, KIND_FILE_SPLICE, KIND_FILE_STAT, KIND_FILE_SYMLINK,
    KIND_FILE_SYNC, KIND_FILE_TRUNCATE, KIND_FILE_WRITE, Counters,
)
from headrace.kernel cimport file as h
from headrace.kernel.errno cimport EBADF, ECANCELED, EINTR, errno

# The most that the kernel moves at once: read(2), "NOTES".
TRANSFER_BYTES_MAX = 0x7FFFF000


cdef class FileOperation(Operation):
    def __cinit__(self):
        self.other_fd = -1
        self.offset = -1
        self.other_offset = -1

    def __dealloc__(self):
        if self.kind == KIND_FILE_OPEN and self.has_ended and self.result >= 0:
            h.close(self.result)  # opened, and nobody has come for it
        free(self.status)

    @property
    def begun(self):
        """Has a thread begun it?"""
        return self.has_begun

    # Worker threads.

    cdef int call(self) noexcept nogil:
        """The system call, which may block; the result, or a negative errno."""
        cdef ssize_t answer
        while True:
            answer = call_of(self)
            if answer >= 0:
                return <int>answer
            # close(2): after EINTR the descriptor is closed; once more would close another's.
            if errno != EINTR or self.kind == KIND_FILE_CLOSE:
                return -errno

    cdef Outcome perform(self, Counters *counters) noexcept:
        """Do it here and now, even if that blocks: for models that are threads of their own."""
        self.flags = 0
        self.result = self.call()
        return OUTCOME_DONE

    def work(self):
        """For a thread: do it, unless it was revoked before that."""
        cdef int result
        if self.is_revoked:
            return
        self.has_begun = True
        with nogil:
            result = self.call()
        self.ended(result)
        loop = self.loop
        self.loop = None
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self.wake_waiter)
            except RuntimeError:
                pass  # it was closed meanwhile

    def revoke(self, loop):
        """No thread shall begin it; False if one has, which wakes `waiter` in *loop* at its end."""
        if self.has_begun and not self.has_ended:
            self.loop = loop
            return False
        if not self.has_ended:
            self.is_revoked = True
            self.ended(-ECANCELED)
        return True

    # The end.

    cdef void ended(self, int result) noexcept:
        self.result = result
        self.has_ended = True

    cdef int take_result(self) noexcept:
        """The result, for whom it was done: a descriptor is the taker's from here on."""
        cdef int result = self.result
        if self.kind == KIND_FILE_OPEN:
            self.result = -EBADF
        return result

    def taken(self):
        """take_result(), for Python."""
        return self.take_result()

    cdef int completed(self, int result, unsigned int flags) except -1:
        self.ended(result)
        return self.wake()

    cdef int wake(self) except -1:
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0

    def wake_waiter(self):
        """wake(), for the loop."""
        self.wake()

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        if not flags & MORE:
            self.ended(result)
        Operation.dropped(self, result, flags)

    def keep(self, owner):
        """Keep *owner*, whose descriptor this uses, until the end."""
        self.owner = owner
        return self

    @property
    def status_result(self):
        """After a stat: its result as os.stat() gives it."""
        return stat_result_of(self.status)


cdef ssize_t call_of(FileOperation operation) noexcept nogil:
    cdef int kind = operation.kind
    if kind == KIND_FILE_READ:
        if operation.offset < 0:
            return h.read(operation.fd, operation.memory, operation.length)
        return h.pread64(operation.fd, operation.memory, operation.length, operation.offset)
    if kind == KIND_FILE_WRITE:
        if operation.offset < 0:
            return h.write(operation.fd, operation.memory, operation.length)
        return h.pwrite64(operation.fd, operation.memory, operation.length, operation.offset)
    if kind == KIND_FILE_SYNC:
        return h.fdatasync(operation.fd) if operation.call_flags else h.fsync(operation.fd)
    if kind == KIND_FILE_CLOSE:
        return h.close(operation.fd)
    if kind == KIND_FILE_TRUNCATE:
        return h.ftruncate64(operation.fd, operation.offset)
    if kind == KIND_FILE_SPLICE:
        return call_splice(operation)
    return call_by_path(operation)


cdef ssize_t call_splice(FileOperation operation) noexcept nogil:
    cdef h.headrace_offset offset = operation.offset
    cdef h.headrace_offset other_offset = operation.other_offset
    return h.splice(
        operation.fd, &offset if offset >= 0 else NULL,
        operation.other_fd, &other_offset if other_offset >= 0 else NULL,
        operation.length, <unsigned int>operation.call_flags,
    )


cdef ssize_t call_by_path(FileOperation operation) noexcept nogil:
    cdef int kind = operation.kind
    cdef const char *path = operation.path_chars
    cdef const char *other = operation.other_chars
    if kind == KIND_FILE_OPEN:
        return h.openat(h.AT_FDCWD, path, operation.call_flags, operation.mode)
    if kind == KIND_FILE_STAT:
        return h.statx(
            operation.other_fd, path, operation.call_flags, h.STATX_BASIC_STATS, operation.status
        )
    if kind == KIND_FILE_RENAME:
        return h.renameat(h.AT_FDCWD, path, h.AT_FDCWD, other)
    if kind == KIND_FILE_REMOVE:
        return h.unlinkat(h.AT_FDCWD, path, operation.call_flags)
    if kind == KIND_FILE_MKDIR:
        return h.mkdirat(h.AT_FDCWD, path, operation.mode)
    if kind == KIND_FILE_LINK:
        return h.linkat(h.AT_FDCWD, path, h.AT_FDCWD, other, operation.call_flags)
    if kind == KIND_FILE_SYMLINK:
        return h.symlinkat(other, h.AT_FDCWD, path)
    return 0


cdef FileOperation file_read(int fd, object holder, char *memory, size_t length, long long offset):
    """Read up to *length* bytes into *memory*, which *holder* keeps; result is their count."""
    # BORROWS: the operation keeps the holder, and the in-flight list or the thread the operation.
    cdef FileOperation operation = FileOperation.__new__(FileOperation)
    operation.kind = KIND_FILE_READ
    operation.fd = fd
    operation.holder = holder
    operation.memory = memory
    operation.length = min(length, <size_t>TRANSFER_BYTES_MAX)
    operation.offset = offset
    return operation


cdef FileOperation file_write(
    int fd, object holder, const char *memory, size_t length, long long offset
):
    """Write up to *length* bytes of *memory*, which *holder* keeps; result is their count."""
    cdef FileOperation operation = file_read(fd, holder, <char *>memory, length, offset)
    operation.kind = KIND_FILE_WRITE
    return operation


def file_read_into(int fd, target, long long offset=-1):
    """Read into the writable memory *target*; for models' tests."""
    cdef unsigned char[::1] view = memoryview(target).cast("B")
    return file_read(fd, view, <char *>&view[0], view.shape[0], offset)


cdef FileOperation of_kind(int kind, int fd, object path, object other_path, int flags):
    cdef FileOperation operation = FileOperation.__new__(FileOperation)
    operation.kind = kind
    operation.fd = fd
    operation.call_flags = flags
    if path is not None:
        operation.path = encoded(path)
        operation.path_chars = operation.path
    if other_path is not None:
        operation.other_path = encoded(other_path)
        operation.other_chars = operation.other_path
    return operation


cdef FileOperation of_path(int kind, object path, int flags):
    # Encoded here: None is no path, as of_kind() takes it, but a mistake.
    return of_kind(kind, -1, encoded(path), None, flags)


cdef FileOperation of_paths(int kind, object path, object other_path, int flags):
    return of_kind(kind, -1, encoded(path), encoded(other_path), flags)


cdef bytes encoded(path):
    cdef bytes name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    return name


def file_open(path, int flags, unsigned int mode=0o777):
    """openat(2), close-on-exec; result is the descriptor, closed again if nobody takes it."""
    cdef FileOperation operation = of_path(KIND_FILE_OPEN, path, flags | h.O_CLOEXEC)
    operation.mode = mode
    return operation


def file_close(int fd):
    """close(2)."""
    return of_kind(KIND_FILE_CLOSE, fd, None, None, 0)


def file_sync(int fd, bint data_only=False):
    """fsync(2), or fdatasync(2)."""
    return of_kind(KIND_FILE_SYNC, fd, None, None, data_only)


def file_truncate(int fd, long long length):
    """ftruncate(2)."""
    cdef FileOperation operation = of_kind(KIND_FILE_TRUNCATE, fd, None, None, 0)
    operation.offset = length
    return operation


def file_stat(path, bint follow_symlinks=True):
    """statx(2) of a path, or of a descriptor; `status_result` has what os.stat() gives."""
    cdef FileOperation operation
    if isinstance(path, int):
        operation = of_kind(KIND_FILE_STAT, -1, b"", None, h.AT_EMPTY_PATH)
        operation.other_fd = path
    else:
        operation = of_path(
            KIND_FILE_STAT, path, 0 if follow_symlinks else h.AT_SYMLINK_NOFOLLOW
        )
        operation.other_fd = h.AT_FDCWD
    operation.status = <h.statx_result *>calloc(1, sizeof(h.statx_result))
    if operation.status == NULL:
        raise MemoryError()
    return operation


def file_rename(path, other_path):
    """renameat(2)."""
    return of_paths(KIND_FILE_RENAME, path, other_path, 0)


def file_remove(path, bint folder=False):
    """unlinkat(2) of a file, or of an empty folder."""
    return of_path(KIND_FILE_REMOVE, path, h.AT_REMOVEDIR if folder else 0)


def file_mkdir(path, unsigned int mode=0o777):
    """mkdirat(2)."""
    cdef FileOperation operation = of_path(KIND_FILE_MKDIR, path, 0)
    operation.mode = mode
    return operation


def file_link(path, other_path, bint follow_symlinks=True):
    """linkat(2): *other_path* becomes another name of the file *path*."""
    return of_paths(
        KIND_FILE_LINK, path, other_path, h.AT_SYMLINK_FOLLOW if follow_symlinks else 0
    )


def file_symlink(target, path):
    """symlinkat(2): *path* becomes a symbolic link to *target*."""
    return of_paths(KIND_FILE_SYMLINK, path, target, 0)


def file_splice(
    int fd, int other_fd, size_t length, long long offset=-1, long long other_offset=-1,
    int flags=0,
):
    """splice(2) from *fd* to *other_fd*, one of them a pipe; result is the count of bytes."""
    cdef FileOperation operation = of_kind(KIND_FILE_SPLICE, fd, None, None, flags)
    operation.other_fd = other_fd
    operation.offset = offset
    operation.other_offset = other_offset
    operation.length = min(length, <size_t>TRANSFER_BYTES_MAX)
    return operation


cdef object stat_result_of(h.statx_result *status):
    cdef long long atime = nanoseconds(&status.stx_atime)
    cdef long long mtime = nanoseconds(&status.stx_mtime)
    cdef long long ctime = nanoseconds(&status.stx_ctime)
    return os.stat_result((
        status.stx_mode, status.stx_ino,
        h.makedev(status.stx_dev_major, status.stx_dev_minor),
        status.stx_nlink, status.stx_uid, status.stx_gid, status.stx_size,
        status.stx_atime.tv_sec, status.stx_mtime.tv_sec, status.stx_ctime.tv_sec,
        seconds(&status.stx_atime), seconds(&status.stx_mtime), seconds(&status.stx_ctime),
        atime, mtime, ctime,
        status.stx_blksize, status.stx_blocks,
        h.makedev(status.stx_rdev_major, status.stx_rdev_minor),
    ))


cdef long long nanoseconds(h.statx_timestamp *time) noexcept:
    return time.tv_sec * 1_000_000_000 + time.tv_nsec


cdef double seconds(h.statx_timestamp *time) noexcept:
    return time.tv_sec + 1e-9 * time.tv_nsec
