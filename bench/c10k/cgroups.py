"""The box's processor and memory: one control group, of version 1 or 2, whichever the machine has.

What version 1 counts where: ``memory.usage_in_bytes`` has pages and kernel objects, but socket
buffers are counted apart, in ``memory.kmem.tcp``, with a limit of their own.  The figure that
matters is the sum.  Version 2 has everything in ``memory.current``.

The quota's period is 10 ms.  A processor of 1 GHz is slow all the time; a fast one that may run for
38.5 of each 100 ms is fast and then dead, and saves time that it did not use for later.  10 ms is
as near to slow as the scheduler's tick (4 ms here) lets it be: what a task overdraws until the next
tick is taken from its next period, so the mean holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 10_000
SHARES, WEIGHT = 262_144, 10_000
"""The largest: what the quota allows, the box has, whoever else is on that core."""
KILL_S_MAX = 10.0
THREAD_READY_S_MAX = 5.0
VERSION_1 = ("cpu", "cpuacct", "cpuset", "memory")
VERSION_2 = ("cpu", "cpuset", "memory")


class NoCgroupError(Exception):
    """The machine lets us make no control group with these controllers."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the box may use. ``cpu_share`` is of one core; None: as much as there is."""

    core: int
    cpu_share: float | None
    memory_bytes: int

    @property
    def quota_us(self) -> int:
        return -1 if self.cpu_share is None else round(PERIOD_US * self.cpu_share)


class Reading(NamedTuple):
    """What a group has used so far, and uses now."""

    cpu_ns: int
    periods: int
    throttled_periods: int
    throttled_ns: int
    memory_bytes: int
    """Without the socket buffers."""
    socket_bytes: int
    peak_bytes: int
    """Of memory_bytes alone, by the kernel's own count."""
    socket_peak_bytes: int


class Group(Protocol):
    version: int

    def enter(self) -> None: ...
    def adopt(self, kernel_thread: int) -> None: ...
    def processes(self) -> list[int]: ...
    def read(self) -> Reading: ...
    def remove(self) -> None: ...


def fields(path: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def number(path: Path) -> int:
    return int(path.read_text())


def pids_in(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "cgroup.procs").read_text().split()]


def move(kernel_thread: int, folder: Path) -> None:
    """Moves it; one that has just been made cannot be moved (EINVAL) before it has first run."""
    until = time.monotonic() + THREAD_READY_S_MAX
    while True:
        try:
            (folder / "cgroup.procs").write_text(str(kernel_thread))
            return
        except OSError as error:
            if error.errno != errno.EINVAL or time.monotonic() > until:
                raise
        time.sleep(0.001)


class GroupV1:
    """One folder per controller, all of the same name."""

    version = 1

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.folders = {kind: ROOT / kind / name for kind in VERSION_1}
        try:
            for folder in self.folders.values():
                folder.mkdir()
            self.bound(bounds)
        except BaseException:
            self.remove()
            raise

    def bound(self, bounds: Bounds) -> None:
        cpu, cpuset, memory = (self.folders[kind] for kind in ("cpu", "cpuset", "memory"))
        (cpuset / "cpuset.cpus").write_text(str(bounds.core))
        (cpuset / "cpuset.mems").write_text((ROOT / "cpuset/cpuset.mems").read_text())
        (cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (cpu / "cpu.cfs_quota_us").write_text(str(bounds.quota_us))
        (cpu / "cpu.shares").write_text(str(SHARES))
        (memory / "memory.limit_in_bytes").write_text(str(bounds.memory_bytes))
        # Counting socket buffers begins with the first limit on them.
        (memory / "memory.kmem.tcp.limit_in_bytes").write_text(str(bounds.memory_bytes))

    def enter(self) -> None:
        """Moves this process into the group: called between fork and exec."""
        for folder in self.folders.values():
            (folder / "cgroup.procs").write_text("0")

    def adopt(self, kernel_thread: int) -> None:
        """Has a kernel thread's CPU time counted and bounded here; it is not for killing."""
        for kind in ("cpu", "cpuacct", "cpuset"):
            move(kernel_thread, self.folders[kind])

    def processes(self) -> list[int]:
        return pids_in(self.folders["memory"])

    def read(self) -> Reading:
        memory, cpu = self.folders["memory"], fields(self.folders["cpu"] / "cpu.stat")
        return Reading(
            cpu_ns=number(self.folders["cpuacct"] / "cpuacct.usage"),
            periods=cpu["nr_periods"],
            throttled_periods=cpu["nr_throttled"],
            throttled_ns=cpu["throttled_time"],
            memory_bytes=number(memory / "memory.usage_in_bytes"),
            socket_bytes=number(memory / "memory.kmem.tcp.usage_in_bytes"),
            peak_bytes=number(memory / "memory.max_usage_in_bytes"),
            socket_peak_bytes=number(memory / "memory.kmem.tcp.max_usage_in_bytes"),
        )

    def remove(self) -> None:
        if self.folders["memory"].exists():
            kill_all(self)
        for folder in self.folders.values():
            remove_folder(folder)


class GroupV2:
    """One folder with all controllers."""

    version = 2

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.folder = ROOT / name
        self.kernel_threads: set[int] = set()
        try:
            self.folder.mkdir()
            (self.folder / "cpuset.cpus").write_text(str(bounds.core))
            quota = "max" if bounds.cpu_share is None else str(bounds.quota_us)
            (self.folder / "cpu.weight").write_text(str(WEIGHT))
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (self.folder / "memory.max").write_text(str(bounds.memory_bytes))
        except BaseException:
            self.remove()
            raise

    def enter(self) -> None:
        """Moves this process into the group: called between fork and exec."""
        (self.folder / "cgroup.procs").write_text("0")

    def adopt(self, kernel_thread: int) -> None:
        """Has a kernel thread's CPU time counted and bounded here; it is not for killing."""
        move(kernel_thread, self.folder)
        self.kernel_threads.add(kernel_thread)

    def processes(self) -> list[int]:
        return sorted(set(pids_in(self.folder)) - self.kernel_threads)

    def read(self) -> Reading:
        cpu = fields(self.folder / "cpu.stat")
        sockets = fields(self.folder / "memory.stat")["sock"]
        peak = self.folder / "memory.peak"  # since Linux 5.19
        now = number(self.folder / "memory.current")
        return Reading(
            cpu_ns=cpu["usage_usec"] * 1000,
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * 1000,
            memory_bytes=now - sockets,
            socket_bytes=sockets,
            peak_bytes=number(peak) if peak.exists() else now,
            socket_peak_bytes=0,
        )

    def remove(self) -> None:
        if self.folder.exists():
            kill_all(self)
        remove_folder(self.folder)


def make_group(name: str, bounds: Bounds) -> Group:
    """A group of the version that this machine has its controllers in.

    Raises:
        NoCgroupError: neither has them all, or we may not.
    """
    try:
        if all((ROOT / kind / "cgroup.procs").exists() for kind in VERSION_1):
            return GroupV1(name, bounds)
        controllers = ROOT / "cgroup.controllers"
        if controllers.exists() and set(VERSION_2) <= set(controllers.read_text().split()):
            switch_on(ROOT / "cgroup.subtree_control")
            return GroupV2(name, bounds)
    except OSError as error:
        raise NoCgroupError(f"cannot make the control group: {error}") from error
    raise NoCgroupError(f"{ROOT} has no controllers {', '.join(VERSION_2)}, of no version")


def switch_on(control: Path) -> None:
    missing = set(VERSION_2) - set(control.read_text().split())
    if missing:
        control.write_text(" ".join(f"+{kind}" for kind in sorted(missing)))


def kill_all(group: Group) -> None:
    """Ends every process of the group, again until none is left: some may be forking."""
    until = time.monotonic() + KILL_S_MAX
    while (pids := group.processes()) and time.monotonic() < until:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def remove_stale() -> None:
    """Removes the groups of runs that were killed with SIGKILL: their processes were, or go on."""
    for folder in [*ROOT.glob("*/c10k-*"), *ROOT.glob("c10k-*")]:
        if Path("/proc", folder.name.removeprefix("c10k-")).exists():
            continue
        for pid in pids_in(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):  # its last processes are just ending: the next run's
            folder.rmdir()


def remove_folder(folder: Path) -> None:
    until = time.monotonic() + KILL_S_MAX
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # EBUSY until the last process has been reaped
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
