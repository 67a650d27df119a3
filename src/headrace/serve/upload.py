"""An upload: written under a temporary name beside the file it will be, renamed when it is whole.

Facts.  rename(2) replaces at once: whoever opens the name gets the old file or the new one, whole.
It does so within one file system only, so that the temporary lies in the same folder.  O_TMPFILE
has no name to clean up, but linkat() cannot replace.

Whoever writes a temporary holds flock(2) on it, which ends with the process, however that ends, and
in whatever PID namespace it runs.  So a temporary that can be locked is nobody's, and is removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator

from headrace.serve.renaming import rename_without_replacing

__all__ = ["RESERVED_PREFIX", "Upload", "remove_if_stale"]

RESERVED_PREFIX = ".headrace-upload-"
"""Names that begin so are the server's: no client sees, opens or makes one."""
NAMES_MAX = 16
"""How many temporary names are tried; that even two are needed takes a cleaner or an ill wind."""
NEW_FILE_MODE = 0o666  # less the umask
TEMPORARY = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FICLONE = 0x40049409  # include/uapi/linux/fs.h: _IOW(0x94, 9, int)
COPY_BYTES_MAX = 1 << 30
"""In one call; more than 0x7ffff000 no call does."""
CANNOT_SHARE = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
)


class Upload:
    """A file on its way; `Tree.upload` makes it.  `commit` or `discard` must end it, once.

    ``fd`` is open for writing and stands where the client's bytes go; it is the upload's to close.
    ``offset`` says where that is.  Not for two threads at once.
    """

    __slots__ = (
        "_exclusive", "_keep_partial", "_name", "_parent", "_replaces", "_sync", "_temporary",
        "fd", "offset", "path",
    )  # fmt: skip

    def __init__(
        self, parent: int, name: bytes, path: str, *,
        offset: int, append: bool, exclusive: bool, sync: bool, keep_partial: bool,
    ) -> None:  # fmt: skip
        # OWNS: parent, from here on.
        self._parent = parent
        self._name = name
        self._exclusive = exclusive
        self._sync = sync
        self._keep_partial = keep_partial
        self._temporary = b""
        self._replaces: os.stat_result | None = None
        self.path = path
        self.fd = -1
        self.offset = offset
        try:
            self._replaces = self._look()
            if append:
                self.offset = self._replaces.st_size if self._replaces else 0
            self._make_temporary()
            if self.offset:
                self._copy_beginning()
        except BaseException:
            self._drop()
            raise

    def __repr__(self) -> str:
        state = "ended" if self._parent < 0 else f"fd={self.fd} offset={self.offset}"
        return f"<Upload {self.path!r} {state}>"

    @property
    def waits_for_disk(self) -> bool:
        """Whether `commit` takes as long as the disk does: then it is for a thread."""
        return self._sync

    def commit(self) -> None:
        """The file has its name, whole, in place of what had it; the descriptor is closed.

        Call it in a thread where it `waits_for_disk`.

        Raises:
            FileExistsError: it was to be new, and meanwhile is not; it is discarded.
            OSError: the disk is full, the folder is gone; it is discarded.
        """
        try:
            if self._sync:
                os.fsync(self.fd)
            if self._exclusive:
                rename_without_replacing(self._parent, self._temporary, self._parent, self._name)
            else:
                self._rename()
            self._temporary = b""
            if self._sync:
                self._sync_folder()
        except OSError as error:
            error.filename, error.filename2 = self.path, None
            raise
        finally:
            self._drop()

    @contextlib.contextmanager
    def folder_locked(self) -> Iterator[None]:
        """Whoever does this too, in whatever worker, waits until it is over; nobody else does.

        So two who look at what has the name and then `commit` do it one after the other.  Where the
        folder may not be read, or its file system has no locks, nobody waits.
        """
        folder = -1
        try:
            with contextlib.suppress(OSError):
                folder = os.open(".", FOLDER, dir_fd=self._parent)
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            if folder >= 0:
                os.close(folder)

    def discard(self, *, keep_partial: bool | None = None) -> None:
        """The upload broke off: what has the name keeps it, the temporary is gone.

        Where partial uploads are kept (``keep_partial``; None: as the tree was told), what came is
        given the name all the same if nothing is lost by that: nothing has the name, or this upload
        began at the end of what has it and that is still the same.  So a client that asks for the
        size can go on there.  After `commit`, or again, it does nothing.  Never raises.
        """
        if self._parent < 0:
            return
        keep = self._keep_partial if keep_partial is None else keep_partial
        try:
            if keep and not self._exclusive and os.fstat(self.fd).st_size > 0:
                self._keep()
        except OSError:
            pass  # then it is not kept
        finally:
            self._drop()

    def _keep(self) -> None:
        replaces = self._replaces
        if replaces is None:
            rename_without_replacing(self._parent, self._temporary, self._parent, self._name)
        elif self.offset == replaces.st_size and self.offset > 0 and self._is_unchanged(replaces):
            self._rename()
        else:
            return
        self._temporary = b""

    def _is_unchanged(self, before: os.stat_result) -> bool:
        now = self._look()
        return now is not None and all(
            getattr(now, field) == getattr(before, field)
            for field in ("st_dev", "st_ino", "st_size", "st_mtime_ns")
        )

    def _look(self) -> os.stat_result | None:
        """What has the name; None: nothing.  Raises where an upload must not replace it."""
        try:
            status = os.stat(self._name, dir_fd=self._parent, follow_symlinks=False)
        except FileNotFoundError:
            if self.offset:
                raise
            return None
        if self._exclusive:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(errno.EACCES, "not a regular file")
        # The folder's rights would be enough for a rename; whoever made it read-only meant it.
        if not os.access(self._name, os.W_OK, dir_fd=self._parent, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if self.offset > status.st_size:
            raise OSError(errno.EINVAL, f"the file has {status.st_size:,} bytes only")
        return status

    def _make_temporary(self) -> None:
        for _ in range(NAMES_MAX):
            name = f"{RESERVED_PREFIX}{secrets.token_hex(8)}".encode()
            try:
                self.fd = os.open(name, TEMPORARY, NEW_FILE_MODE, dir_fd=self._parent)
            except FileExistsError:
                continue
            self._temporary = name
            if self._lock():
                break
            os.close(self.fd)
            self.fd = -1
        else:
            raise OSError(errno.EBUSY, "no temporary name to be had")
        if self._replaces is not None:
            self._be_as(self._replaces)

    def _be_as(self, before: os.stat_result) -> None:
        """Owner, as far as we may give files away, and permissions of the file that it replaces."""
        made = os.fstat(self.fd)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(self.fd, before.st_uid, before.st_gid)
        os.fchmod(self.fd, before.st_mode & 0o777)

    def _lock(self) -> bool:
        """False: a cleaner saw it before it was ours, and has removed it or is about to."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks: a cleaner cannot lock it either
        return os.fstat(self.fd).st_nlink > 0

    def _copy_beginning(self) -> None:
        """The first ``offset`` bytes of the present file; shared, where the file system can."""
        source = os.open(self._name, SOURCE, dir_fd=self._parent)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise PermissionError(errno.EACCES, "not a regular file")
            if not _share(source, self.fd, self.offset):
                _copy(source, self.fd, self.offset)
        finally:
            os.close(source)
        os.lseek(self.fd, self.offset, os.SEEK_SET)

    def _rename(self) -> None:
        os.rename(self._temporary, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)

    def _sync_folder(self) -> None:
        """The name is on the disk as well; a folder that we may not read cannot be asked for."""
        try:
            folder = os.open(".", FOLDER, dir_fd=self._parent)
        except PermissionError:
            return
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _drop(self) -> None:
        """Temporary name and descriptors are gone, whatever happens on the way."""
        parent, self._parent = self._parent, -1
        fd, self.fd = self.fd, -1
        temporary, self._temporary = self._temporary, b""
        if temporary:
            # The folder has gone, or the next start removes it.
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
        for descriptor in (fd, parent):
            if descriptor >= 0:
                os.close(descriptor)


def _share(source: int, target: int, length: int) -> bool:
    """A reflink: no byte is copied; False where the file system has none."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in CANNOT_SHARE:
            return False
        raise
    if os.fstat(target).st_size < length:
        raise OSError(errno.EINVAL, "the file has become shorter")
    os.ftruncate(target, length)
    return True


def _copy(source: int, target: int, length: int) -> None:
    """In the kernel: copy_file_range(), or sendfile() where file systems or kernels have none."""
    done = 0
    by_range = True
    while done < length:
        count = min(length - done, COPY_BYTES_MAX)
        if by_range:
            try:
                copied = os.copy_file_range(source, target, count, done, done)
            except OSError as error:
                if error.errno not in CANNOT_SHARE:
                    raise
                by_range = False
                os.lseek(target, done, os.SEEK_SET)
                continue
        else:
            copied = os.sendfile(target, source, done, count)
        if copied == 0:
            raise OSError(errno.EINVAL, "the file has become shorter")
        done += copied


def remove_if_stale(folder_fd: int, name: bytes) -> bool:
    """Remove a temporary that nobody writes; answers whether it did.  Never raises."""
    try:
        fd = os.open(name, SOURCE, dir_fd=folder_fd)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder_fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
