"""The functions of `os` that wait for a disk or a server, to be awaited.

Names, arguments, results and errors are those of the module `os`.  Who does the work is chosen as
for `headrace.open()`: the loop's own model where it can, else a thread of the loop's executor.
A function that is cancelled has ended when CancelledError is raised, whether it has done its work
or not, unless its text says otherwise.
"""

from __future__ import annotations

import asyncio
import errno
import os as blocking
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from headrace.core.file_operation import (
    file_close,
    file_link,
    file_mkdir,
    file_open,
    file_remove,
    file_rename,
    file_splice,
    file_stat,
    file_symlink,
    file_sync,
    file_truncate,
)
from headrace.files.descriptor import Descriptor
from headrace.files.settling import do

__all__ = [
    "close",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "pread",
    "pwrite",
    "read",
    "readlink",
    "remove",
    "rename",
    "replace",
    "rmdir",
    "scandir",
    "sendfile",
    "splice",
    "stat",
    "symlink",
    "unlink",
    "write",
]

Name = TypeVar("Name", str, bytes)
Result = TypeVar("Result")


class HasFileno(Protocol):
    """A file."""

    def fileno(self) -> int: ...


Path = str | bytes | blocking.PathLike[str] | blocking.PathLike[bytes]


# Names.


async def stat(path: Path | int, *, follow_symlinks: bool = True) -> blocking.stat_result:
    """os.stat(): of a path, or of a descriptor."""
    operation = file_stat(path, follow_symlinks)
    await do(operation, path)
    return operation.status_result


async def lstat(path: Path) -> blocking.stat_result:
    """os.lstat(): of a symbolic link itself."""
    if isinstance(path, int):
        raise TypeError("lstat: path should be string, bytes or os.PathLike, not int")
    return await stat(path, follow_symlinks=False)


async def rename(src: Path, dst: Path) -> None:
    """os.rename(): *dst* is replaced, at once for all who look, if it is a file."""
    await do(file_rename(src, dst), src, dst)


async def replace(src: Path, dst: Path) -> None:
    """os.replace(), which on Linux is rename()."""
    await rename(src, dst)


async def unlink(path: Path) -> None:
    """os.unlink(): remove a name of a file."""
    await do(file_remove(path), path)


async def remove(path: Path) -> None:
    """os.remove(), which is unlink()."""
    await unlink(path)


async def mkdir(path: Path, mode: int = 0o777) -> None:
    """os.mkdir()."""
    await do(file_mkdir(path, mode), path)


async def rmdir(path: Path) -> None:
    """os.rmdir(): remove an empty folder."""
    await do(file_remove(path, True), path)


async def link(src: Path, dst: Path, *, follow_symlinks: bool = False) -> None:
    """os.link(): *dst* becomes another name of the file *src*.

    Of a symbolic link it is another name of the link, as link(2) has it on Linux.
    """
    await do(file_link(src, dst, follow_symlinks), src, dst)


async def symlink(src: Path, dst: Path) -> None:
    """os.symlink(): *dst* becomes a symbolic link to *src*."""
    await do(file_symlink(src, dst), src, dst)


async def readlink(path: Name | blocking.PathLike[Name]) -> Name:
    """os.readlink(): where a symbolic link leads."""
    return await _in_thread(blocking.readlink, path)


async def listdir(path: Any = ".") -> list[Any]:
    """os.listdir(): the names in a folder."""
    return await _in_thread(blocking.listdir, path)


class Scan(Generic[Name]):
    """What scandir() answers: for `async for`, inside an `async with` or not."""

    def __init__(self, path: Any) -> None:
        self._path = path
        self._entries: Iterator[blocking.DirEntry[Name]] | None = None

    async def __aenter__(self) -> Scan[Name]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._entries = iter(())

    def __aiter__(self) -> Scan[Name]:
        return self

    async def __anext__(self) -> blocking.DirEntry[Name]:
        if self._entries is None:
            self._entries = iter(await _in_thread(_entries_of, self._path))
        for entry in self._entries:
            return entry
        raise StopAsyncIteration


def scandir(path: Any = ".") -> Scan[Any]:
    """os.scandir(): the entries of a folder, which is read at once when the first is asked for.

    Their `is_dir()` and `is_file()` are answered by what was read, unless they are symbolic links;
    `entry.stat()` asks the disk and blocks: `await headrace.os.stat(entry.path)` does not.
    """
    return Scan(path)


def _entries_of(path: Any) -> list[Any]:
    with blocking.scandir(path) as entries:
        return list(entries)


# Descriptors.


async def open(path: Path, flags: int, mode: int = 0o777) -> int:
    """os.open(): a descriptor, close-on-exec.

    Cancelled while a thread is opening it, a file is closed again when it is open.
    """
    return await do(file_open(path, flags, mode), path)


async def close(fd: int) -> None:
    """os.close().  Do not use *fd* any more, whether this raises or not."""
    operation = file_close(fd)
    try:
        await do(operation)
    except asyncio.CancelledError:
        if operation.result == -errno.ECANCELED:
            blocking.close(fd)
        raise


async def read(fd: int, n: int) -> bytes:
    """os.read(): at most *n* bytes from where the descriptor stands; b"" at the end.

    Cancelled, it has read nothing; while it waits, others must not move the descriptor.
    """
    return await Descriptor(fd, None, False).read_bytes(_not_negative(n), -1, False)


async def write(fd: int, data: Any) -> int:
    """os.write(): where the descriptor stands; how many bytes.

    Of a cancelled one the descriptor's position says how many, if it has one.
    """
    return await Descriptor(fd, None, False).write_bytes(data, -1, False)


async def pread(fd: int, n: int, offset: int) -> bytes:
    """os.pread(): at most *n* bytes at *offset*, fewer at the end only."""
    return await Descriptor(fd, None, False).read_bytes(
        _not_negative(n), _not_negative(offset), True
    )


async def pwrite(fd: int, data: Any, offset: int) -> int:
    """os.pwrite(): all of *data* at *offset*."""
    return await Descriptor(fd, None, False).write_bytes(data, _not_negative(offset), True)


def _not_negative(number: int) -> int:
    if number < 0:
        raise OSError(errno.EINVAL, blocking.strerror(errno.EINVAL))
    return number


async def fsync(fd: int | HasFileno) -> None:
    """os.fsync(): wait until all of the file is on the disk."""
    await do(file_sync(_descriptor(fd)))


async def fdatasync(fd: int | HasFileno) -> None:
    """os.fdatasync(): fsync() of the contents, and of no more than is needed to read them."""
    await do(file_sync(_descriptor(fd), True))


def _descriptor(file: int | HasFileno) -> int:
    return file if isinstance(file, int) else file.fileno()


async def ftruncate(fd: int, length: int) -> None:
    """os.ftruncate(): make a file so many bytes long."""
    await do(file_truncate(fd, length))


async def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """os.sendfile(), by a thread: how many bytes, 0 at the file's end.

    A socket must be non-blocking; it is waited for.  Cancelled while it is being sent to, it may
    have been sent some: the connection's other end must not need to know how many.
    """
    while True:
        try:
            return await _in_thread(blocking.sendfile, out_fd, in_fd, offset, count)
        except BlockingIOError:
            await Descriptor(out_fd, None, False).wait_ready(True)


async def splice(
    src: int,
    dst: int,
    count: int,
    offset_src: int | None = None,
    offset_dst: int | None = None,
    flags: int = 0,
) -> int:
    """os.splice(): move bytes from or to a pipe, which is waited for; how many, 0 at the end."""
    if count < 0:
        raise ValueError("count cannot be negative")
    # SPLICE_F_NONBLOCK, which Python names from 3.10 on: who is not ready is not waited for there.
    flags |= blocking.SPLICE_F_NONBLOCK
    ends = ((Descriptor(src, None, False), False), (Descriptor(dst, None, False), True))
    while True:
        for descriptor, writing in ends:
            if not descriptor.seekable:
                await descriptor.wait_ready(writing)
        try:
            return await do(
                file_splice(
                    src,
                    dst,
                    count,
                    -1 if offset_src is None else offset_src,
                    -1 if offset_dst is None else offset_dst,
                    flags,
                )
            )
        except BlockingIOError:
            continue


async def _in_thread(call: Callable[..., Result], *arguments: Any) -> Result:
    """The call's result, by a thread of the loop's executor; waited for, even if cancelled."""
    interruption: asyncio.CancelledError | None = None
    job = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
    while True:
        try:
            result = await asyncio.shield(job)
            break
        except asyncio.CancelledError as error:
            if job.cancelled():
                raise
            interruption = error
    if interruption is not None:
        raise interruption
    return result
