"""The system calls themselves, through libc: what Python's wrappers add would be measured too."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Sequence

libc = ctypes.CDLL(None, use_errno=True)

DESCRIPTORS_IN_SET = 1024
POLLIN = 1
PROT_NONE = 0
WORD_BITS = 8 * ctypes.sizeof(ctypes.c_ulong)


class PollEntry(ctypes.Structure):
    """struct pollfd."""

    _fields_ = (
        ("fd", ctypes.c_int),
        ("events", ctypes.c_short),
        ("revents", ctypes.c_short),
    )


class TimeValue(ctypes.Structure):
    """struct timeval."""

    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


class EpollEvent(ctypes.Structure):
    """struct epoll_event; packed on x86-64 alone."""

    _pack_ = 1 if os.uname().machine == "x86_64" else 8
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class DescriptorSet:
    """An fd_set of any size: the kernel takes as many bits as it is told of."""

    def __init__(self, descriptors: Sequence[int], bits: int = DESCRIPTORS_IN_SET) -> None:
        self.words = (ctypes.c_ulong * (-(-bits // WORD_BITS)))()
        for fd in descriptors:
            self.words[fd // WORD_BITS] |= 1 << fd % WORD_BITS

    def members(self) -> list[int]:
        return [
            index * WORD_BITS + bit
            for index, word in enumerate(self.words)
            for bit in range(WORD_BITS)
            if word >> bit & 1
        ]


def checked(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return answer


def error_of(answer: int) -> str:
    """The name of the error that the last call ended with; an empty string if it did not fail."""
    return errno.errorcode[ctypes.get_errno()] if answer < 0 else ""


def select_call(descriptors: Sequence[int]) -> Callable[[], int]:
    """select(2) for reading, without waiting.  The set is made anew for each call, as it must."""
    source, used = DescriptorSet(descriptors), DescriptorSet([])
    count = max(descriptors) + 1
    size = ctypes.sizeof(used.words)
    no_time = TimeValue(0, 0)
    words, time_value = ctypes.byref(used.words), ctypes.byref(no_time)
    copy, call = ctypes.memmove, libc.select

    def select() -> int:
        copy(used.words, source.words, size)
        return int(call(count, words, None, None, time_value))

    return select


def poll_entries(descriptors: Sequence[int]) -> ctypes.Array[PollEntry]:
    return (PollEntry * len(descriptors))(*(PollEntry(fd, POLLIN, 0) for fd in descriptors))


def poll_call(descriptors: Sequence[int]) -> Callable[[], int]:
    """poll(2) for reading, without waiting."""
    entries, count, call = poll_entries(descriptors), len(descriptors), libc.poll
    return lambda: int(call(entries, count, 0))


def epoll_call(epoll_fd: int, room: int = 64) -> Callable[[], int]:
    """epoll_wait(2), without waiting."""
    events, call = (EpollEvent * room)(), libc.epoll_wait
    return lambda: int(call(epoll_fd, events, room, 0))
