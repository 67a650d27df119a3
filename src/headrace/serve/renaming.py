"""A rename that never replaces: renameat2(RENAME_NOREPLACE), or link() and unlink()."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

__all__ = ["rename_without_replacing"]

RENAME_NOREPLACE = 1  # include/uapi/linux/fcntl.h
# Old kernels and C libraries; EINVAL: the file system has no such rename.  Not EPERM, which is what
# append-only and sticky folders say: link() would give the file its second name there, and unlink()
# not take the first.
UNAVAILABLE = (errno.ENOSYS, errno.EINVAL)

_library = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_library, "renameat2", None)
if _renameat2 is not None:
    _renameat2.restype = ctypes.c_int
    _renameat2.argtypes = [
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
    ]  # fmt: skip


def rename_without_replacing(old_fd: int, old: bytes, new_fd: int, new: bytes) -> None:
    """Give ``old`` in one folder the name ``new`` in another, if nothing has that name.

    Where the kernel or the file system has no such rename, a file gets the second name first and
    loses the first then, and a folder cannot be renamed so.

    Raises:
        FileExistsError: something has that name.
        OSError: as renameat2(2), or as link(2) and unlink(2): then it has its first name only.
    """
    if _renameat2 is not None:
        if _renameat2(old_fd, old, new_fd, new, RENAME_NOREPLACE) == 0:
            return
        error = ctypes.get_errno()
        if error not in UNAVAILABLE:
            raise OSError(error, os.strerror(error))
    os.link(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd, follow_symlinks=False)
    try:
        os.unlink(old, dir_fd=old_fd)
    except FileNotFoundError:
        pass  # somebody else has taken the first name away: it has the second only, as it should
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=new_fd)
        raise
