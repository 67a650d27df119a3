"""<errno.h>: Cython's own copy lacks ECANCELED and friends."""

cdef extern from "<errno.h>" nogil:
    int errno
    int EACCES, EAGAIN, EALREADY, EBADF, EBUSY, ECANCELED, ECONNABORTED, EEXIST, EINPROGRESS
    int EINTR, EINVAL, EISCONN, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOSYS, ENOTCONN
    int EIO, EOPNOTSUPP, EPERM, EPROTO, ESPIPE, ETIME
