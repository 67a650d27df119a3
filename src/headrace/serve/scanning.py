"""What is asked of a folder that is open: its names, its sizes, what killed uploads left in it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator

from headrace.serve import paths
from headrace.serve.beneath import LINK_LEAVES, LINK_NOT_FOLLOWED, Opener
from headrace.serve.upload import RESERVED_PREFIX, remove_if_stale

__all__ = ["as_virtual", "folders_in", "remove_stale", "size_bytes", "walk"]

ANCHOR_BYTES = 512
"""A folder is opened beneath one above it that is open, by a path of this many bytes and a name:
so that a tree may be as deep as it likes, and no path is longer than the kernel takes."""
RESERVED = RESERVED_PREFIX.encode("ascii")
SCAN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
LOOK = os.O_PATH | os.O_NOFOLLOW

if sys.getfilesystemencoding() == paths.ENCODING and (
    sys.getfilesystemencodeerrors() == paths.UNDECODABLE
):

    def as_virtual(name: str) -> str:
        """A name as scandir() has it -> as in a virtual path."""
        return name

else:  # a locale of another encoding, in which scandir() has decoded the name

    def as_virtual(name: str) -> str:
        """A name as scandir() has it -> as in a virtual path."""
        return paths.decode(os.fsencode(name))


def folders_in(folder_fd: int) -> list[str]:
    """The names of the folders in it, without links to folders."""
    with os.scandir(folder_fd) as found:
        return [as_virtual(entry.name) for entry in found if entry.is_dir(follow_symlinks=False)]


def size_bytes(folder_fd: int) -> int:
    """The sizes of the regular files in it, added.

    Raises:
        OSError: EDQUOT, the sizes are hidden in a folder that is ours.
    """
    total = 0
    with os.scandir(folder_fd) as found:
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed while we looked
            except OSError as error:
                if error.errno == errno.EACCES and not _is_open_to_us(folder_fd):
                    continue
                raise _uncounted(error) from None
            if stat.S_ISREG(status.st_mode):
                total += status.st_size
    return total


def remove_stale(folder_fd: int) -> int:
    """Remove the temporaries in it that nobody writes; answers how many."""
    with os.scandir(folder_fd) as found:
        names = [entry.name for entry in found if entry.name.startswith(RESERVED_PREFIX)]
    return sum(remove_if_stale(folder_fd, os.fsencode(name)) for name in names)


def walk(folder_fd: int, open_beneath: Opener, *, whole: bool = False) -> Iterator[int]:
    """Each folder of a tree, open until the next is asked for; no link is followed.

    Args:
        folder_fd: where the tree begins; it may be closed once the walk has begun.
        open_beneath: how a folder is opened.
        whole: raise where a folder cannot be walked in which a client may have put something; else
            it is left out.

    Raises:
        OSError: EDQUOT, and why it cannot be walked.
    """
    waiting = [(_Anchor(os.dup(folder_fd)), b"")]
    while waiting:
        anchor, path = waiting.pop()
        try:
            here = _Anchor(open_beneath(anchor.fd, path or b".", SCAN, 0))
        except OSError as error:
            if whole and _may_hide_something(error, anchor.fd, path, open_beneath):
                raise _uncounted(error) from None
            continue
        yield here.fd
        names = [paths.encode(name) for name in folders_in(here.fd)]
        if len(path) > ANCHOR_BYTES:
            anchor, path = here, b""
        waiting += [
            (anchor, b"%b/%b" % (path, name) if path else name)
            for name in names
            if not name.startswith(RESERVED)
        ]
        del anchor, here


class _Anchor:
    """A descriptor, until the last one who has it has gone."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        # OWNS: fd
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def _may_hide_something(error: OSError, folder_fd: int, path: bytes, open_beneath: Opener) -> bool:
    """Whether a client may have put something into a folder that cannot be opened.

    Not into one that has gone, or is a link now.  And not into one of somebody else through which
    no way leads for us, such as lost+found; but it can change the mode of one that is ours.
    """
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return False
    if error.errno != errno.EACCES:
        return True
    if error.strerror in (LINK_LEAVES, LINK_NOT_FOLLOWED):
        return False
    while path:
        try:
            fd = open_beneath(folder_fd, path, LOOK, 0)
        except PermissionError:  # the folder above it is the one that is closed
            path = path.rpartition(b"/")[0]
            continue
        except OSError:
            return False
        try:
            return _is_open_to_us(fd)
        finally:
            os.close(fd)
    return _is_open_to_us(folder_fd)


def _is_open_to_us(fd: int) -> bool:
    status = os.fstat(fd)
    if not stat.S_ISDIR(status.st_mode):
        return False
    return status.st_uid == os.geteuid() or os.access(f"/proc/self/fd/{fd}", os.X_OK)


def _uncounted(error: OSError) -> OSError:
    """As if there were no room: else what lies in it would count for nothing."""
    return OSError(errno.EDQUOT, f"a folder cannot be counted: {error.strerror}")
