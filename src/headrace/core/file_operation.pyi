import os
from typing import Any

from headrace.core.operation import Operation

TRANSFER_BYTES_MAX: int

class FileOperation(Operation):
    """One thing done with a file or its name; `result` is a count, 0, or a negative errno."""

    waiter: Any
    @property
    def holder(self) -> object: ...
    @property
    def offset(self) -> int: ...
    @property
    def owner(self) -> object: ...
    @property
    def has_ended(self) -> bool:
        """Does `result` say how it has ended?"""

    @property
    def begun(self) -> bool:
        """Has a thread begun it?"""

    def work(self) -> None:
        """For a thread: do it, unless it was revoked before that."""

    def revoke(self, loop: Any) -> bool:
        """No thread shall begin it; False if one has, which wakes `waiter` in *loop* at its end."""

    def taken(self) -> int:
        """The result; a descriptor is the taker's from here on."""

    def wake_waiter(self) -> None:
        """It has ended: wake who waits."""

    def keep(self, owner: object) -> FileOperation:
        """Keep *owner*, whose descriptor this uses, until the end."""

    @property
    def status_result(self) -> os.stat_result:
        """After a stat: its result as os.stat() gives it."""

def file_read_into(fd: int, target: Any, offset: int = -1) -> FileOperation:
    """Read into the writable memory *target*; for models' tests."""

def file_open(path: Any, flags: int, mode: int = 0o777) -> FileOperation:
    """openat(2), close-on-exec; result is the descriptor, closed again if nobody takes it."""

def file_close(fd: int) -> FileOperation:
    """close(2)."""

def file_sync(fd: int, data_only: bool = False) -> FileOperation:
    """fsync(2), or fdatasync(2)."""

def file_truncate(fd: int, length: int) -> FileOperation:
    """ftruncate(2)."""

def file_stat(path: Any, follow_symlinks: bool = True) -> FileOperation:
    """statx(2) of a path, or of a descriptor; `status_result` has what os.stat() gives."""

def file_rename(path: Any, other_path: Any) -> FileOperation:
    """renameat(2)."""

def file_remove(path: Any, folder: bool = False) -> FileOperation:
    """unlinkat(2) of a file, or of an empty folder."""

def file_mkdir(path: Any, mode: int = 0o777) -> FileOperation:
    """mkdirat(2)."""

def file_link(path: Any, other_path: Any, follow_symlinks: bool = True) -> FileOperation:
    """linkat(2): *other_path* becomes another name of the file *path*."""

def file_symlink(target: Any, path: Any) -> FileOperation:
    """symlinkat(2): *path* becomes a symbolic link to *target*."""

def file_splice(
    fd: int, other_fd: int, length: int, offset: int = -1, other_offset: int = -1, flags: int = 0
) -> FileOperation:
    """splice(2) from *fd* to *other_fd*, one of them a pipe; result is the count of bytes."""
