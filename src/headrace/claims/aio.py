"""POSIX AIO through libc's own functions: who does the work, and who says that it is done."""

from __future__ import annotations

import ctypes
import errno
import platform
import time
from types import TracebackType
from typing import Any, Self

from headrace.claims.native import checked
from headrace.claims.sources import NotDecidableError

SIGEV_SIGNAL = 0
SIGEV_NONE = 1
AIO_CANCELED = 0
POLL_S = 0.001
PATIENCE_S = 20


class SignalEvent(ctypes.Structure):
    """struct sigevent of glibc: 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class ControlBlock(ctypes.Structure):
    """struct aiocb of glibc on 64-bit systems."""

    _fields_ = (
        ("fd", ctypes.c_int),
        ("list_code", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("event", SignalEvent),
        ("next", ctypes.c_void_p),
        ("internal", ctypes.c_int * 3),
        ("answer", ctypes.c_ssize_t),
        ("offset", ctypes.c_long),
        ("reserved", ctypes.c_char * 32),
    )


def functions() -> Any:
    """The library that has aio_read: libc itself since glibc 2.34, librt before."""
    if platform.libc_ver()[0] != "glibc" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise NotDecidableError("knows the aiocb of 64-bit glibc alone")
    for name in (None, "librt.so.1"):
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if hasattr(library, "aio_read"):
            library.aio_return.restype = ctypes.c_ssize_t
            return library
    raise NotDecidableError("no aio_read in the C library")


class Asynchronous:
    """One aio_read in flight; the buffer stays alive until it has ended."""

    def __init__(self, fd: int, size: int, memory: Any = None, number: int | None = None) -> None:
        self.library = functions()
        # OWNS: the kernel's reader writes into it until the operation ends.
        self.buffer = (ctypes.c_char * size).from_buffer(memory) if memory else None
        if self.buffer is None:
            self.buffer = (ctypes.c_char * size)()
        event = SignalEvent(None, number or 0, SIGEV_NONE if number is None else SIGEV_SIGNAL)
        self.block = ControlBlock(
            fd=fd, buffer=ctypes.addressof(self.buffer), size=size, event=event
        )
        checked(self.library.aio_read(ctypes.byref(self.block)), "aio_read")

    def error(self) -> int:
        """EINPROGRESS until it has ended."""
        return int(self.library.aio_error(ctypes.byref(self.block)))

    def result(self) -> int:
        return int(self.library.aio_return(ctypes.byref(self.block)))

    def wait(self) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while self.error() == errno.EINPROGRESS and time.monotonic() < end_s:
            time.sleep(POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.error() == errno.EINPROGRESS:
            self.library.aio_cancel(self.block.fd, ctypes.byref(self.block))
            self.wait()
        self.buffer = None
