"""Counting another program's system calls, by the kernel's own trace point.

``raw_syscalls:sys_enter`` counts every system call of every thread, whatever loop makes it: the
only count that is fair to programs that do not count themselves. But while the trace point is
open each system call of the machine costs some 100 ns more, so it is opened for a short stretch
of load of its own and never while time is measured.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
PERF_TYPE_TRACEPOINT = 2
PERF_ATTR_SIZE = 64  # PERF_ATTR_SIZE_VER0: every kernel takes it
PERF_FLAG_FD_CLOEXEC = 8
INHERIT = 1 << 1
TRACE_POINT = "events/raw_syscalls/sys_enter/id"
TRACE_FOLDERS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
# Who counted: what ``syscalls_source`` says.
FROM_KERNEL = "perf raw_syscalls:sys_enter"
FROM_LOOP = "loop statistics"
MOUNT_AND_READ = f"mount -t tracefs tracefs {TRACE_FOLDERS[0]} && cat {TRACE_FOLDERS[0]}/"


class NotCountableError(Exception):
    """System calls cannot be counted here; the message says why."""


def read_trace_point() -> int:
    """The trace point's number.

    Where tracefs is not mounted root can still read it: mounted in a mount namespace of a process
    that ends at once, so nothing of the machine changes.
    """
    for folder in TRACE_FOLDERS:
        try:
            return int(Path(folder, TRACE_POINT).read_text())
        except OSError:
            continue
    try:
        answer = subprocess.run(
            ["unshare", "--mount", "sh", "-c", MOUNT_AND_READ + TRACE_POINT],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return int(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NotCountableError("tracefs is not readable (needs root)") from error


class SystemCallCounter:
    """Counts the system calls of processes from when it is made until it is closed.

    Threads and children that start later are counted with their parents.

    Raises:
        NotCountableError: the kernel or its permissions do not allow it.
    """

    def __init__(self, trace_point: int, pids: Iterable[int]) -> None:
        self.fds: list[int] = []
        try:
            for pid in pids:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    self.fds.append(self._open(trace_point, int(thread)))
        except OSError as error:
            self.close()
            raise NotCountableError(f"perf_event_open: {error.strerror}") from error

    @staticmethod
    def _open(trace_point: int, thread: int) -> int:
        number = PERF_EVENT_OPEN.get(platform.machine())
        if number is None:
            raise NotCountableError(f"perf_event_open: unknown machine {platform.machine()}")
        attributes = struct.pack(
            "IIQQQQQIIQ",
            PERF_TYPE_TRACEPOINT,
            PERF_ATTR_SIZE,
            trace_point,
            0,
            0,
            0,
            INHERIT,
            0,
            0,
            0,
        )
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(number, attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC)
        if fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return int(fd)

    def read(self) -> int:
        """The system calls so far."""
        return sum(struct.unpack("Q", os.read(fd, 8))[0] for fd in self.fds)

    def close(self) -> None:
        """Closes the trace point, which makes system calls cheap again."""
        while self.fds:
            os.close(self.fds.pop())
