"""What is asked of a folder that is open: its names, its sizes, what killed uploads left in it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator

from headrace.serve import paths
from headrace.serve.upload import RESERVED_PREFIX, remove_if_stale

__all__ = ["as_virtual", "folders_in", "remove_stale", "size_bytes", "walk"]

DEPTH_MAX = 256
"""How deep a tree is walked, to count or to clean; deeper folders are left out."""

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
    """The sizes of the regular files in it, added."""
    total = 0
    with os.scandir(folder_fd) as found:
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # removed while we looked
            if stat.S_ISREG(status.st_mode):
                total += status.st_size
    return total


def remove_stale(folder_fd: int) -> int:
    """Remove the temporaries in it that nobody writes; answers how many."""
    with os.scandir(folder_fd) as found:
        names = [entry.name for entry in found if entry.name.startswith(RESERVED_PREFIX)]
    return sum(remove_if_stale(folder_fd, os.fsencode(name)) for name in names)


def walk(open_folder: Callable[[str], int]) -> Iterator[int]:
    """Each folder of a tree, open until the next is asked for; those that cannot be are left out.

    Args:
        open_folder: virtual path -> descriptor; follows no link.
    """
    waiting = [("/", 0)]
    while waiting:
        path, depth = waiting.pop()
        try:
            folder_fd = open_folder(path)
        except OSError:
            continue
        try:
            yield folder_fd
            if depth < DEPTH_MAX:
                waiting += [(paths.join(path, name), depth + 1) for name in folders_in(folder_fd)]
        finally:
            os.close(folder_fd)
