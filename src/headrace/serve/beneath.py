"""Opening what lies beneath a folder, and nothing else: openat2(2), or name by name without it.

Facts.  ``open("a/b/c")`` follows symbolic links, and ``..`` in them, wherever they lead; checking
the path first (realpath) and opening it then leaves a moment in which somebody who may write below
the folder replaces a checked folder by a link.  openat2() with RESOLVE_BENEATH (Linux 5.6) makes
the check a part of the walk: a path that leaves the folder at any moment, by ``..``, by an absolute
link or a link with ``..``, ends in EXDEV.  RESOLVE_NO_MAGICLINKS refuses links like those in
``/proc/PID/fd``, which lead anywhere without being a path.

Decision.  openat2 where the kernel has it and lets us; else each name by itself with O_NOFOLLOW,
which is as safe and follows no symbolic link at all.  Neither needs anything from the caller but
that the path is relative: ``..`` inside it would be safe, too.

Cost, measured on Linux 6.18 with Python 3.11: opening and closing a file takes 2.1 µs this way,
2.3 name by name (one name), and 1.0 by os.open(); a transfer costs a thousand.

Surprises.  openat2 answers EAGAIN where a rename or a mount somewhere in the system made the walk
through a ``..`` uncertain: again is what helps, but not for ever.  It refuses unknown flags with
EINVAL, and O_PATH with most others, which open() ignores.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable

__all__ = ["Opener", "choose_opener", "open_by_openat2", "open_name_by_name"]

Opener = Callable[[int, bytes, int, int], int]
"""(descriptor of the folder, relative path, flags, mode) -> a new descriptor; raises OSError."""

# include/uapi/asm-generic/unistd.h: the same number on every architecture since Linux 5.1's merge.
NR_OPENAT2 = 437
# include/uapi/linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
TRIES_MAX = 64
"""How often EAGAIN is believed to be somebody else's rename."""
LINK_LEAVES = "a symbolic link leads out of the served folder"
LINK_NOT_FOLLOWED = "symbolic links are not followed here"
LINK = os.O_PATH | os.O_NOFOLLOW


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t
]  # fmt: skip
_HOW_BYTES = ctypes.sizeof(_OpenHow)


@functools.lru_cache(maxsize=64)
def _how(flags: int, mode: int) -> ctypes.Array[_OpenHow]:
    """Made once for each way of opening; nobody writes to it again, so threads may share it."""
    how = (_OpenHow * 1)()
    how[0].flags = flags
    how[0].mode = mode
    how[0].resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    return how


def open_by_openat2(folder_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` beneath the folder; links that stay beneath it are followed.

    O_CLOEXEC is added.  Never blocks on more than a file system does.

    Raises:
        OSError: as openat2; PermissionError where the path leaves the folder.
    """
    how = _how(flags | os.O_CLOEXEC, mode)
    for _ in range(TRIES_MAX):
        fd: int = _syscall(NR_OPENAT2, folder_fd, path, how, _HOW_BYTES)
        if fd >= 0:
            return fd
        error = ctypes.get_errno()
        if error == errno.EXDEV:
            raise PermissionError(errno.EACCES, LINK_LEAVES)
        if error not in (errno.EAGAIN, errno.EINTR):
            raise OSError(error, os.strerror(error))
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def open_name_by_name(folder_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` beneath the folder without openat2(); no symbolic link is followed.

    Raises:
        OSError: as open; PermissionError for a symbolic link, or for ``..``.
    """
    names = [name for name in path.split(b"/") if name and name != b"."] or [b"."]
    if b".." in names or path.startswith(b"/"):
        raise PermissionError(errno.EACCES, LINK_LEAVES)
    here = folder_fd
    try:
        for name in names[:-1]:
            below = _open_folder(here, name)
            if here != folder_fd:
                os.close(here)
            here = below
        return _open_last(here, names[-1], flags, mode)
    finally:
        if here != folder_fd:
            os.close(here)


def _open_folder(folder_fd: int, name: bytes) -> int:
    try:
        return os.open(name, LINK | os.O_DIRECTORY, dir_fd=folder_fd)
    except NotADirectoryError:
        _refuse_link(folder_fd, name)
        raise


def _open_last(folder_fd: int, name: bytes, flags: int, mode: int) -> int:
    follows = not flags & os.O_NOFOLLOW
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            _refuse_link(folder_fd, name)
        raise
    # With O_PATH a link is opened itself, and without a word.
    if follows and flags & os.O_PATH and stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise PermissionError(errno.EACCES, LINK_NOT_FOLLOWED)
    return fd


def _refuse_link(folder_fd: int, name: bytes) -> None:
    """Say so where a link is the reason; the caller's error stands where it is not."""
    status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise PermissionError(errno.EACCES, LINK_NOT_FOLLOWED) from None


@functools.cache
def choose_opener() -> Opener:
    """`open_by_openat2` where this kernel and our seccomp filter let it work; asked once.

    A filter's "no" is EPERM (Docker before 20.10.0) or ENOSYS (since), an old kernel's is ENOSYS.
    """
    here = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(open_by_openat2(here, b".", os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return open_name_by_name
    finally:
        os.close(here)
    return open_by_openat2
