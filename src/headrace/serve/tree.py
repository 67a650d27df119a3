"""The served folder: the one class through which a client's name reaches the kernel.

Every path is opened beneath a descriptor of the folder (`headrace.serve.beneath`).  What changes
something opens the parent folder so, and then acts on one last name in it, whose symbolic link, if
it is one, is never followed.  So no call takes a path that a client had a hand in.

A link that stays inside the served folder is followed for reading.  One that leaves it is refused,
and so is one with an absolute target, wherever that leads.  A listing shows the links that cannot
be followed as what they are, so that they can be removed.

Every error is an OSError with the virtual path as its filename.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from headrace.serve import paths, scanning
from headrace.serve.beneath import Opener, choose_opener
from headrace.serve.renaming import rename_without_replacing
from headrace.serve.upload import RESERVED_PREFIX, Upload

__all__ = ["Entry", "Tree", "TooManyEntries", "Upload"]

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: a FIFO or a device is open at once, and refused; nobody waits for its other end."""
LOOK = os.O_PATH
FOLDER = os.O_PATH | os.O_DIRECTORY
SCAN = os.O_RDONLY | os.O_DIRECTORY
PERMISSION_BITS = 0o777
"""What a client may set; never set-user-ID, set-group-ID or sticky."""
RESERVED = f"/{RESERVED_PREFIX}"


class Entry(NamedTuple):
    """A name in a folder.

    ``status`` is that of what a symbolic link leads to; of a link that cannot be followed it is the
    link's own (S_ISLNK).
    """

    name: str
    status: os.stat_result


class TooManyEntries(OSError):
    """The folder has more names than the caller asked for."""


class Tree:
    """A folder and what is beneath it; open until `close`, or until nobody has it any more.

    It is the folder that was opened, whatever happens to its name later.  All methods may be called
    from any thread.  None blocks longer than the file system does; `scan`, `usage_bytes`,
    `remove_stale_uploads` and a resumed `upload` take as long as there is much to do.

    Args:
        directory: the folder; the one path that is the operator's and no client's.
        sync: an upload is on the disk (fsync) before it has its name.
        keep_partial: what came of a broken upload is kept, where that loses nothing: see
            `Upload.discard`.
        opener: how to open beneath a folder; None: the best way that this kernel has.

    Raises:
        OSError: there is no such folder, or it must not be opened.
    """

    __slots__ = ("__weakref__", "_fd", "_open_beneath", "keep_partial", "sync")

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        sync: bool = False,
        keep_partial: bool = False,
        opener: Opener | None = None,
    ) -> None:
        self._fd = -1
        self._open_beneath = opener or choose_opener()
        self.sync = sync
        self.keep_partial = keep_partial
        self._fd = os.open(directory, FOLDER)

    def __repr__(self) -> str:
        return f"<Tree {'closed' if self._fd < 0 else f'fd={self._fd}'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; what was opened or begun stays good.  Again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def subtree(self, home: str) -> Tree:
        """The tree of a folder in this one; nothing in it leads out of ``home``.

        Raises:
            OSError: there is no such folder.
        """
        made = Tree.__new__(Tree)
        made._fd = -1
        made._open_beneath = self._open_beneath
        made.sync = self.sync
        made.keep_partial = self.keep_partial
        made._fd = self._open(home, FOLDER)
        return made

    # Reading

    def open_file(self, path: str) -> int:
        """A descriptor to read a regular file with; the caller closes it.

        Raises:
            IsADirectoryError: it is a folder.
            PermissionError: it is a FIFO, a socket or a device; or not readable for us, or the path
                leads out of the tree.
            OSError: whatever else opening says.
        """
        fd = self._open(path, READ)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
        if stat.S_ISDIR(mode):
            raise _error(errno.EISDIR, path)
        raise PermissionError(errno.EACCES, "not a regular file", path)

    def status(self, path: str) -> os.stat_result:
        """Of the file or folder, or of what a link leads to."""
        fd = self._open(path, LOOK)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def scan(self, path: str, entries_max: int) -> list[Entry]:
        """All names in a folder, in no order, without ``.`` and ``..`` and without our temporaries.

        Raises:
            TooManyEntries: there are more than ``entries_max``.
            OSError: it is no folder, or not readable.
        """
        folder_fd = self._open(path, SCAN)
        entries: list[Entry] = []
        try:
            with _named(path), os.scandir(folder_fd) as found:
                for entry in found:
                    name = scanning.as_virtual(entry.name)
                    if name.startswith(RESERVED_PREFIX):
                        continue
                    if len(entries) >= entries_max:
                        why = f"more than {entries_max:,} names in the folder"
                        raise TooManyEntries(errno.EOVERFLOW, why)
                    try:
                        entries.append(Entry(name, self._entry_status(path, name, entry)))
                    except FileNotFoundError:
                        continue  # removed while we looked
        finally:
            os.close(folder_fd)
        return entries

    def _entry_status(self, folder: str, name: str, entry: os.DirEntry[str]) -> os.stat_result:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            try:
                return self.status(paths.join(folder, name))
            except OSError:
                return status
        return status

    # Changing

    def make_folder(self, path: str) -> None:
        """Raises FileExistsError where the name is taken."""
        with self._last_name(path) as (parent, name):
            os.mkdir(name, dir_fd=parent)

    def remove_folder(self, path: str) -> None:
        """Of an empty folder; our own temporaries in it do not count, where nobody writes them."""
        with self._last_name(path) as (parent, name):
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not self._remove_stale_in(path):
                    raise
                os.rmdir(name, dir_fd=parent)

    def remove_file(self, path: str) -> None:
        """Of anything that is no folder; of a symbolic link, not of what it leads to."""
        with self._last_name(path) as (parent, name):
            os.unlink(name, dir_fd=parent)

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """A new name, at once: nobody ever sees none, or both.

        Raises:
            FileExistsError: there is something of that name, and ``replace`` is false.
            OSError: as rename(2); onto another file system, EXDEV.
        """
        with (
            self._last_name(old) as (old_parent, old_name),
            self._last_name(new) as (new_parent, new_name),
        ):
            if replace:
                os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)
            else:
                rename_without_replacing(old_parent, old_name, new_parent, new_name)

    def change_mode(self, path: str, mode: int) -> None:
        """The permission bits of a file or folder; a symbolic link is not followed.

        Raises:
            PermissionError: more than the permission bits, or something that is neither.
        """
        if mode & ~PERMISSION_BITS:
            raise PermissionError(errno.EPERM, "only the permission bits can be set", path)
        with self._last_name(path) as (parent, name):
            fd = os.open(name, LOOK | os.O_NOFOLLOW, dir_fd=parent)
            try:
                kind = os.fstat(fd).st_mode
                if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                    raise PermissionError(errno.EACCES, "neither a file nor a folder")
                _change_mode(fd, mode)
            finally:
                os.close(fd)

    def change_modified(self, path: str, modified_s: float) -> None:
        """When it was modified, in seconds since 1970; a symbolic link is not followed."""
        with self._last_name(path) as (parent, name):
            accessed_ns = os.stat(name, dir_fd=parent, follow_symlinks=False).st_atime_ns
            times = (accessed_ns, round(modified_s * 1_000_000_000))
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def upload(
        self, path: str, *, offset: int = 0, append: bool = False, exclusive: bool = False
    ) -> Upload:
        """Begin to write a file; nothing of it has the name before `Upload.commit`.

        With ``offset`` or ``append`` it begins as a copy of the present file's first ``offset``
        bytes, or of all, which takes as long as copying does where the file system cannot share
        them: call it in a thread then.

        Args:
            offset: where the client's bytes begin; what the present file has behind them is gone.
            append: they begin at the end of the present file, if there is one.
            exclusive: there must be no such file, neither now nor at the commit: for a name that we
                made up, and for users who may create files and not replace them.

        Raises:
            FileExistsError: ``exclusive``, and there is one.
            IsADirectoryError: it is a folder.
            PermissionError: it is no regular file, or one that we may not write.
            FileNotFoundError: there is no such folder; or, with an offset, no such file.
            OSError: EINVAL, the present file is shorter than ``offset``; or ENOSPC and the like.
        """
        with _named(path):
            parent, name = self._open_parent(path)
            return Upload(
                parent, name, path,
                offset=offset, append=append, exclusive=exclusive,
                sync=self.sync, keep_partial=self.keep_partial,
            )  # fmt: skip

    # The whole tree

    def usage_bytes(self) -> int:
        """The sizes of all regular files beneath, added; slow: call it in a thread.

        Our own temporaries count, hard links count each, symbolic links do not.  Nor do folders of
        somebody else through which no way leads for us.

        Raises:
            OSError: EDQUOT, a folder cannot be read in which a client may have put something.
        """
        with _named("/"):
            folders = scanning.walk(self._fd, self._open_beneath, whole=True)
            return sum(map(scanning.size_bytes, folders))

    def remove_stale_uploads(self) -> int:
        """Remove the temporaries that nobody writes any more; answers how many.

        At a start, for those of processes that were killed; slow: call it in a thread.  What is
        being written, by whatever process, stays.
        """
        return sum(map(scanning.remove_stale, scanning.walk(self._fd, self._open_beneath)))

    def _remove_stale_in(self, path: str) -> int:
        folder_fd = self._open(path, SCAN | os.O_NOFOLLOW)
        try:
            return scanning.remove_stale(folder_fd)
        finally:
            os.close(folder_fd)

    # One way in

    def _open(self, path: str, flags: int) -> int:
        if RESERVED in path:
            raise _error(errno.ENOENT, path)
        try:
            return self._open_beneath(self._fd, paths.encode(path)[1:] or b".", flags, 0)
        except OSError as error:
            error.filename = path
            raise

    def _open_parent(self, path: str) -> tuple[int, bytes]:
        folder, name = paths.split(path)
        if not name:
            raise PermissionError(errno.EPERM, "the root folder cannot be changed", path)
        if name.startswith(RESERVED_PREFIX):
            raise PermissionError(errno.EPERM, "a name that the server keeps for itself", path)
        try:
            return self._open(folder, FOLDER), paths.encode(name)
        except OSError as error:
            error.filename = path
            raise

    @contextmanager
    def _last_name(self, path: str) -> Iterator[tuple[int, bytes]]:
        with _named(path):
            parent, name = self._open_parent(path)
            try:
                yield parent, name
            finally:
                os.close(parent)


class _named:  # noqa: N801 - reads as the verb it is
    """What fails in here failed for this virtual path."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        # Ours is text; what calls with a descriptor and a last name put there is not.
        if isinstance(error, OSError) and not isinstance(error.filename, str):
            error.filename = self.path
            error.filename2 = None


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _change_mode(fd: int, mode: int) -> None:
    """Through /proc: fchmod() refuses O_PATH, and another descriptor needs the right to read."""
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None
