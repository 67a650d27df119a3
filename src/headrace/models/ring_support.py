"""What this kernel knows of io_uring, and why it may refuse a ring."""

from __future__ import annotations

import errno
import os
import re


def kernel_release() -> tuple[int, int]:
    """(major, minor) of the kernel; (0, 0) if it does not say so."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def unavailable_reason(error: OSError) -> str:
    """Why there is no ring, in a line that says where to look."""
    reason = f"io_uring: {error.strerror}"
    if error.errno == errno.EINVAL or "too old" in reason:
        return f"{reason} (Linux 5.19 is needed)"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{reason} ({permission_hint()})"
    if error.errno == errno.ENOSYS:
        return f"{reason} (a kernel without io_uring, or blocked by seccomp?)"
    if error.errno == errno.ENOMEM:
        return f"{reason} (RLIMIT_MEMLOCK?)"
    return reason


def permission_hint() -> str:
    try:
        with open("/proc/sys/kernel/io_uring_disabled", encoding="ascii") as file:
            disabled = file.read().strip()
    except OSError:
        disabled = "0"
    if disabled != "0":
        return f"kernel.io_uring_disabled is {disabled}"
    return "blocked by seccomp?"
