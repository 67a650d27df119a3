"""How many threads a loop may have on `blocking`: $HEADRACE_THREADS, or what fits here.

On `aio` it holds twice: for the requests that glibc's threads do, and for the workers beside them.
"""

from __future__ import annotations

import os
import reprlib
import resource
from contextlib import suppress
from pathlib import Path

ENVIRONMENT_VARIABLE = "HEADRACE_THREADS"
# What a thread costs: its stack in the kernel, the pages of its own that it touches, its maps.
THREAD_BYTES = 32 * 1024
# Of the free memory, so that there is some left for what the threads are for.
MEMORY_SHARE = 4
# Of the processes and threads that the kernel allows: others have some as well.
COUNT_SHARE = 2
THREADS_MIN = 4
# Each has two maps of the 65,530 that a process may have.
THREADS_MAX = 16_000
# Of the variable, zeros in front included.
DIGITS_MAX = 30
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def thread_limit() -> int:
    """$HEADRACE_THREADS, or as many threads as a quarter of the free memory holds.

    Raises:
        ValueError: $HEADRACE_THREADS is not a count that can be had.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if not text:
        return threads_that_fit()
    # (Python refuses to make a number of more than 4,300 digits, and says nothing of the variable.)
    is_count = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    count = int(text) if is_count else 0
    if not 1 <= count <= THREADS_MAX:
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE} must be a count of threads from 1 to {THREADS_MAX}, "
            f"not {reprlib.repr(text)}"
        )
    return count


def unusable_reason() -> str | None:
    """Why no limit can be told; None if it can."""
    try:
        thread_limit()
    except ValueError as error:
        return str(error)
    return None


def threads_that_fit() -> int:
    """Limited by memory, and by the threads that the kernel allows this user and this group."""
    counts = [
        *(read_limits(PROC / "sys/kernel", "threads-max")),
        *(limit for folder in cgroup_folders("pids") for limit in read_limits(folder, "pids.max")),
    ]
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if processes != resource.RLIM_INFINITY:
        counts.append(processes)
    fitting = free_memory_bytes() // MEMORY_SHARE // THREAD_BYTES
    return max(
        min([THREADS_MAX, fitting, *(count // COUNT_SHARE for count in counts)]), THREADS_MIN
    )


def signal_queue_length() -> int:
    """How many signals may wait for this user's processes: RLIMIT_SIGPENDING, or THREADS_MAX."""
    length, _ = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    return THREADS_MAX if length == resource.RLIM_INFINITY else length


def free_memory_bytes() -> int:
    """What the machine has available, or what is left to this process's group if that is less.

    The kernel counts cached files as used by the group, and gives them up when memory is asked for.
    """
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    with suppress(OSError):
        for line in (PROC / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free[0] = int(line.split()[1]) * 1024
    for folder in cgroup_folders("memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limits, used = read_limits(folder, limit_name), read_limits(folder, used_name)
            if limits and used:
                free.append(max(limits[0] - used[0] + cached_bytes(folder), 0))
    return min(free)


def cached_bytes(folder: Path) -> int:
    """Of files, by processes of the group, not used for a while: cgroups(7), memory.stat."""
    found = {"inactive_file": 0, "total_inactive_file": 0}
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in found:
                found[name] = int(value)
    return max(found.values())


def cgroup_folders(controller: str) -> list[Path]:
    """Of this process's group and of those above it, whose limits hold for it as well.

    cgroups(7): a line is ``number:controllers:path``, with no controllers in version 2.
    """
    folders = []
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = CGROUPS / controller if controllers else CGROUPS
            group = root / path.lstrip("/")
            folders += [
                group,
                *(above for above in group.parents if root in (above, *above.parents)),
            ]
    return folders


def read_limits(folder: Path, name: str) -> list[int]:
    """The number in a file; nothing where there is no such file or no limit ("max")."""
    try:
        return [int((folder / name).read_text(encoding="ascii"))]
    except (OSError, ValueError):
        return []
