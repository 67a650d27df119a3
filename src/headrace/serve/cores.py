"""How many cores a server may use: those it may run on, and those that its quota pays for.

In a container with a quota of two cores on a machine of 64 there would be 64 workers otherwise,
each with a loop, a thirtieth of a core, and a share of the clients.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["usable_cores"]

CGROUPS = Path("/sys/fs/cgroup")
# Where the controller of version 1 is mounted.
VERSION_1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def usable_cores(cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """At least one."""
    cores = len(os.sched_getaffinity(0))
    quota = quota_cores(cgroups, membership)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def quota_cores(cgroups: Path, membership: Path) -> float | None:
    """The smallest quota of this process' control group and those above it; None: there is none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += quotas_above(cgroups, path, read_version_2)
        elif "cpu" in controllers.split(","):
            for name in VERSION_1:
                found += quotas_above(cgroups / name, path, read_version_1)
    return min(found, default=None)


def quotas_above(top: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Of a group and its ancestors; of the top, where the path is one outside of the container."""
    group = top / path.lstrip("/")
    if not group.is_dir():
        group = top
    found = []
    while True:
        try:
            quota = read(group)
        except (OSError, ValueError):
            quota = None
        if quota is not None:
            found.append(quota)
        if group == top or top not in group.parents:
            return found
        group = group.parent


def read_version_2(group: Path) -> float | None:
    """cpu.max: ``max 100000``, or quota and period in microseconds."""
    quota, period = (group / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def read_version_1(group: Path) -> float | None:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((group / "cpu.cfs_period_us").read_text())
