"""`headrace.open()`: the arguments of the built-in open(), checked as it does, and the opening."""

from __future__ import annotations

import errno
import io
import os
import stat
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from headrace.core.file_operation import file_open
from headrace.files.binary import BUFFER_BYTES_DEFAULT, BinaryFile
from headrace.files.descriptor import Descriptor
from headrace.files.settling import do, error_of
from headrace.files.text import TextFile

Path = int | str | bytes | os.PathLike[str] | os.PathLike[bytes]
File = TypeVar("File", bound="BinaryFile | TextFile")

NEWLINES = (None, "", "\n", "\r", "\r\n")
BinaryMode: TypeAlias = Literal[
    "rb", "br", "wb", "bw", "ab", "ba", "xb", "bx",
    "rb+", "r+b", "+rb", "br+", "b+r", "+br", "wb+", "w+b", "+wb", "bw+", "b+w", "+bw",
    "ab+", "a+b", "+ab", "ba+", "b+a", "+ba", "xb+", "x+b", "+xb", "bx+", "b+x", "+bx",
]  # fmt: skip


@dataclass(frozen=True)
class Mode:
    """What a mode string says."""

    text: str
    action: str
    updating: bool
    binary: bool

    @classmethod
    def parse(cls, mode: str) -> Mode:
        """Take the string apart, with the built-in open()'s errors."""
        if not isinstance(mode, str):
            raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
        letters = set(mode)
        if letters - set("axrwb+t") or len(mode) > len(letters):
            raise ValueError(f"invalid mode: {mode!r}")
        if {"t", "b"} <= letters:
            raise ValueError("can't have text and binary mode at once")
        actions = letters & set("rwax")
        if len(actions) != 1:
            raise ValueError("must have exactly one of create/read/write/append mode")
        return cls(mode, actions.pop(), "+" in letters, "b" in letters)

    @property
    def readable(self) -> bool:
        return self.action == "r" or self.updating

    @property
    def writable(self) -> bool:
        return self.action != "r" or self.updating

    @property
    def flags(self) -> int:
        """For open(2)."""
        one_way = os.O_RDONLY if self.action == "r" else os.O_WRONLY
        return (os.O_RDWR if self.updating else one_way) | {
            "r": 0,
            "w": os.O_CREAT | os.O_TRUNC,
            "a": os.O_CREAT | os.O_APPEND,
            "x": os.O_CREAT | os.O_EXCL,
        }[self.action]

    @property
    def of_binary(self) -> str:
        """As a built-in binary file shows it: sorted, and "w+" not told from "r+"."""
        action = "r" if self.action == "w" and self.updating else self.action
        return f"{action}b{'+' if self.updating else ''}"


class Opening(Generic[File]):
    """What open() answers: to be awaited, or entered with `async with`."""

    def __init__(self, path: Any, mode: Mode, buffering: int, text: dict[str, Any] | None) -> None:
        self._path = path
        self._mode = mode
        self._buffering = buffering
        self._text = text
        self._file: Any = None
        self._begun = False

    def __del__(self) -> None:
        # As coroutines do: a forgotten await is a file that was never written.
        if not self._begun:
            warnings.warn(f"{self!r} was never awaited", RuntimeWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<Opening {self._path!r} mode={self._mode.text!r}>"

    def __await__(self) -> Generator[Any, Any, File]:
        return self._open().__await__()

    async def __aenter__(self) -> File:
        self._file = await self._open()
        opened: File = self._file
        return opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self._file.close()

    async def _open(self) -> File:
        self._begun = True
        descriptor = await self._open_descriptor()
        buffer_size = self._buffering
        if buffer_size < 0 or (buffer_size == 1 and self._text is not None):
            buffer_size = BUFFER_BYTES_DEFAULT
        if buffer_size and self._mode.updating and not descriptor.seekable:
            await descriptor.close()
            raise io.UnsupportedOperation("File or stream is not seekable.")
        binary = BinaryFile(
            descriptor,
            self._mode.of_binary,
            buffer_size,
            readable=self._mode.readable,
            writable=self._mode.writable,
            appending=self._mode.action == "a",
        )
        if self._text is None:
            return binary  # type: ignore[return-value]
        return TextFile(binary, self._mode.text, **self._text)  # type: ignore[return-value]

    async def _open_descriptor(self) -> Descriptor:
        if isinstance(self._path, int):
            return _checked(self._path, self._path, closes=True)
        fd = await do(file_open(self._path, self._mode.flags, 0o666), self._path)
        try:
            return _checked(fd, self._path, closes=True)
        except BaseException:
            os.close(fd)
            raise


def _checked(fd: int, name: Any, *, closes: bool) -> Descriptor:
    """The descriptor, unless it is a folder's, which open(2) opens for reading."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise error_of(errno.EISDIR, name)
    return Descriptor(fd, name, closes)


@overload
def open(  # type: ignore[overload-overlap]
    file: Path, mode: BinaryMode, buffering: int = -1, encoding: None = None,
    errors: None = None, newline: None = None,
) -> Opening[BinaryFile]: ...  # fmt: skip
@overload
def open(
    file: Path, mode: str = "r", buffering: int = -1, encoding: str | None = None,
    errors: str | None = None, newline: str | None = None,
) -> Opening[TextFile]: ...  # fmt: skip
def open(
    file: Path,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Opening[Any]:
    """Open *file* as the built-in open() does; for ``async with`` or ``await``.

    On any asyncio loop: by the loop's own model where it has file I/O (``uring``), else by threads
    of the loop's default executor.  What is cached is read without either.  *file* may be a
    descriptor, which is closed with the file.

    Raises:
        ValueError: the mode, or what goes with it, makes no sense; raised by the call itself.
        OSError: open(2)'s, with the file's name; raised when it is awaited.
    """
    if not isinstance(file, int):
        file = os.fspath(file)
    parsed = Mode.parse(mode)
    _check_buffering(parsed, buffering)
    if parsed.binary:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                article = "an" if name[0] == "e" else "a"
                raise ValueError(f"binary mode doesn't take {article} {name} argument")
        return Opening(file, parsed, -1 if buffering == 1 else buffering, None)
    if newline not in NEWLINES:
        raise ValueError(f"illegal newline value: {newline!r}")
    text = {
        "encoding": TextFile.encoding_named(encoding),
        "errors": errors or "strict",
        "newline": newline,
        "line_buffering": buffering == 1,
    }
    return Opening(file, parsed, buffering, text)


def _check_buffering(mode: Mode, buffering: int) -> None:
    if buffering == 0 and not mode.binary:
        raise ValueError("can't have unbuffered text I/O")
    if buffering == 1 and mode.binary:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default buffer "
            "size will be used",
            RuntimeWarning,
            stacklevel=3,
        )
