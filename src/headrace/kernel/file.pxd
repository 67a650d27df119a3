"""<fcntl.h>, <unistd.h>, <stdio.h>, <sys/stat.h>, <sys/uio.h>: what is done with files."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <sys/sysmacros.h>
    #include <sys/uio.h>
    #include <unistd.h>
    /* File offsets have 64 bits on every machine that Linux 5.19 runs on, once asked for. */
    typedef loff_t headrace_offset;
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 0x8
    #endif
    """
    ctypedef long long headrace_offset

    int AT_FDCWD, AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW
    int O_CLOEXEC
    int RWF_NOWAIT
    unsigned int STATX_BASIC_STATS

    struct iovec:
        void *iov_base
        size_t iov_len

    struct statx_timestamp:
        int64_t tv_sec
        uint32_t tv_nsec

    struct statx_result "statx":
        uint32_t stx_blksize
        uint32_t stx_nlink
        uint32_t stx_uid
        uint32_t stx_gid
        uint32_t stx_mode
        uint64_t stx_ino
        uint64_t stx_size
        uint64_t stx_blocks
        statx_timestamp stx_atime
        statx_timestamp stx_ctime
        statx_timestamp stx_mtime
        uint32_t stx_rdev_major
        uint32_t stx_rdev_minor
        uint32_t stx_dev_major
        uint32_t stx_dev_minor

    unsigned long long makedev(unsigned int major, unsigned int minor)
    int openat(int folder, const char *path, int flags, unsigned int mode)
    int close(int fd)
    ssize_t read(int fd, void *memory, size_t length)
    ssize_t write(int fd, const void *memory, size_t length)
    ssize_t pread64(int fd, void *memory, size_t length, long long offset)
    ssize_t pwrite64(int fd, const void *memory, size_t length, long long offset)
    ssize_t preadv64v2(int fd, const iovec *pieces, int count, long long offset, int flags)
    ssize_t pwritev64v2(int fd, const iovec *pieces, int count, long long offset, int flags)
    long long lseek64(int fd, long long offset, int whence)
    int fsync(int fd)
    int fdatasync(int fd)
    int ftruncate64(int fd, long long length)
    int statx(int folder, const char *path, int flags, unsigned int mask, statx_result *result)
    int renameat(int folder, const char *path, int other_folder, const char *other)
    int unlinkat(int folder, const char *path, int flags)
    int mkdirat(int folder, const char *path, unsigned int mode)
    int linkat(int folder, const char *path, int other_folder, const char *other, int flags)
    int symlinkat(const char *target, int folder, const char *path)
    ssize_t splice(
        int fd, headrace_offset *offset, int other, headrace_offset *other_offset, size_t length,
        unsigned int flags,
    )
