from collections.abc import Iterable
from types import TracebackType
from typing import Any

from headrace.files.descriptor import Descriptor, Transfer

ATTEMPT_BYTES_MAX: int
BUFFER_BYTES_DEFAULT: int
CLOSED_MESSAGE: str

class BinaryFile:
    """What open() makes in binary mode, and what a text file is made of."""

    def __new__(
        cls,
        descriptor: Descriptor,
        mode: str,
        buffer_size: int,
        *,
        readable: bool,
        writable: bool,
        appending: bool = False,
    ) -> BinaryFile: ...
    @property
    def descriptor(self) -> Descriptor: ...
    @property
    def mode(self) -> str: ...
    @property
    def buffer_size(self) -> int:
        """The most that is kept back by write(), and read ahead; 0: nothing is."""

    @property
    def closed(self) -> bool: ...
    @property
    def name(self) -> Any:
        """What open() was called with."""

    @property
    def raw(self) -> Descriptor: ...
    def fileno(self) -> int:
        """The descriptor.  Its position is the kernel's, not this file's: see tell()."""

    def isatty(self) -> bool: ...
    def readable(self) -> bool: ...
    def writable(self) -> bool: ...
    def seekable(self) -> bool: ...
    def check_open(self) -> None: ...
    async def read(self, size: int | None = -1) -> bytes:
        """Read *size* bytes, fewer at the end of the file only; all that is left if negative.

        A file without buffer answers what one system call brings.
        """

    async def read1(self, size: int | None = -1) -> bytes:
        """Read at most *size* bytes with one system call at most, none if some are there."""

    async def peek(self, size: int = 0) -> bytes:
        """What is read ahead, at least a byte unless the file ends, and stays to be read."""

    async def readinto(self, target: Any) -> int:
        """Read into the writable memory *target*: how many bytes, as many as read() would."""

    async def readline(self, size: int | None = -1) -> bytes:
        """Read up to and with the next newline, *size* bytes at most; b"" at the end."""

    async def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Read lines to the end, or until they have *hint* bytes together."""

    def __aiter__(self) -> BinaryFile: ...
    async def __anext__(self) -> bytes: ...
    async def pread(self, size: int, offset: int) -> bytes:
        """Read *size* bytes at *offset*, fewer at the end of the file only; the position stays.

        Any number of tasks may do so at once.  Cached bytes are read without leaving the task.
        """

    async def pwrite(self, data: Any, offset: int) -> int:
        """Write all of *data* at *offset*, to the kernel at once; the position stays.

        Cancelled, or with an error, it may have written a part: the same once more is harmless.
        """

    async def write(self, data: Any) -> int:
        """Write *data*: into the buffer if there is room, else to the kernel; how many bytes.

        Cancelled, it has taken as much as tell() says: nothing, or what the kernel has written.
        """

    async def writelines(self, lines: Iterable[Any]) -> None:
        """Write each of *lines*; no newlines are added."""

    async def flush(self) -> None:
        """Give the kernel what is in the buffer.  That it reaches the disk is fsync()'s affair."""

    async def fsync(self) -> None:
        """flush(), and wait until all of the file is on the disk."""

    async def fdatasync(self) -> None:
        """fsync() of the contents, and of no more than is needed to read them."""

    async def sync(self, data_only: bool) -> None: ...
    def tell(self) -> int:
        """Where the next byte is read or written: no system call, nothing to await."""

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position: from the start, from where it is, or from the end; where it is then."""

    async def truncate(self, size: int | None = None) -> int:
        """Make the file *size* bytes long, by default as long as tell() says; the position stays."""

    async def close(self) -> None:
        """Flush and close; may be called twice.  Closed it is also if this raises.

        What is in flight is waited for, except who waits for a peer (a FIFO): he gets a ValueError.
        """

    async def aclose(self) -> None:
        """close()."""

    async def close_behind(self) -> None: ...
    async def __aenter__(self) -> BinaryFile: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        where: TracebackType | None = None,
    ) -> None: ...
    def write_behind_now(self) -> None: ...
    async def read_all(self) -> bytes: ...
    async def read_rest(self) -> bytes: ...
    async def read_some(self, wanted: int, whole: bool) -> bytes: ...
    async def read_large(self, wanted: int, whole: bool) -> bytes: ...
    async def read_line(self, limit: int) -> bytes: ...
    async def fill_ahead(self, wanted: int) -> None: ...
    async def write_behind(self) -> None: ...
    def put_behind(self, transfer: Transfer) -> int: ...
    def write_offset(self) -> int: ...
    def length_now(self) -> int: ...
    def target_of(self, offset: int, whence: int) -> int: ...
    def move_to(self, target: int) -> None: ...
