"""What a process tree has used at one moment, looked at from outside.

CPU time comes from each process's own CPU clock: to the nanosecond, all threads, and the same for
a program in C, a peer and ours. The server is not asked, so the question costs it nothing.

A process that ends takes its clock along. The kernel adds what it used, with all that its own
children had used, to the account of the parent that waits for it: cutime and cstime of proc(5), in
ticks of 10 ms, the rounding of a whole account and not of each child. So the sum of all clocks and
all accounts loses nothing, though a server forks for each request. Two ways lead out of that sum,
and then the growth is unknown: a parent that ignores SIGCHLD waits for nobody, and what its
children used is forgotten; and a process whose parent has ended belongs to whoever adopts it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCHLD

CPU_CLOCK = 2  # CPUCLOCK_SCHED of <linux/posix-timers.h>
TICKS = os.sysconf("SC_CLK_TCK")
TICK_NS = 1_000_000_000 // TICKS
ROUNDING_NS = 2 * TICK_NS
"""What cutime and cstime together can be short of."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
READINGS_MAX = 10


@dataclass
class Usage:
    """What the process tree had used at one moment, by process."""

    cpu_ns: dict[int, int] = field(default_factory=dict)
    ended_ns: dict[int, int] = field(default_factory=dict)
    """The CPU time of the children that the process has waited for, and of theirs."""
    waiting_ns: dict[int, int] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    forgets_children: bool = False
    """Whether one ignores SIGCHLD: what its children used is in no account."""
    user_ticks: int = 0
    system_ticks: int = 0
    """With the children that ended."""
    rss_bytes: int = 0

    def total_ns(self, pid: int) -> int:
        return self.cpu_ns[pid] + self.ended_ns[pid]


def children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{task}/children").read_text()
                found += [int(child) for child in text.split()]
    return found


def process_tree(*pids: int) -> list[int]:
    """The processes and all their descendants."""
    tree = list(pids)
    for parent in tree:
        tree += children(parent)
    return tree


def usage(*pids: int) -> Usage:
    """The usage of these processes and all their descendants.

    One that ended while its parent had been read already would be in neither: then all is read
    again. A process that ends again and again is left out at last.
    """
    found = Usage()
    for _ in range(READINGS_MAX):
        found = Usage()
        if _read(found, process_tree(*pids)):
            break
    return found


def growth(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """What was added; threads that ended take their waiting time along, that is no growth."""
    return sum(max(0, value - before.get(pid, 0)) for pid, value in after.items())


def cpu_growth(before: Usage, after: Usage) -> int:
    """The CPU time that was added, by processes that live and by those that ended meanwhile."""
    ended = sum(before.total_ns(pid) for pid in before.cpu_ns if pid not in after.cpu_ns)
    return max(
        0, growth(before.cpu_ns, after.cpu_ns) + growth(before.ended_ns, after.ended_ns) - ended
    )


def is_cpu_known(before: Usage, after: Usage) -> bool:
    """Whether the account of a survivor has what each process used that ended meanwhile."""
    if before.forgets_children or after.forgets_children:
        return False
    owed: dict[int, int] = {}
    for pid in before.cpu_ns:
        if pid not in after.cpu_ns:
            heir = _heir(pid, before, after)
            owed[heir] = owed.get(heir, 0) + before.total_ns(pid)
    return all(
        heir in after.ended_ns
        and after.ended_ns[heir] - before.ended_ns.get(heir, 0) + ROUNDING_NS >= used_ns
        for heir, used_ns in owed.items()
    )


def _heir(pid: int, before: Usage, after: Usage) -> int:
    """The nearest ancestor that lives; 0 if there is none."""
    while pid and pid not in after.cpu_ns:
        pid = before.parents.get(pid, 0)
    return pid


def _read(found: Usage, tree: Iterable[int]) -> bool:
    """Adds up the tree; answers whether nobody ended meanwhile."""
    is_whole = True
    for pid in tree:
        try:
            _read_process(found, pid)
        except (OSError, IndexError):
            is_whole = False
    return is_whole


def _read_process(found: Usage, pid: int) -> None:
    cpu_ns = time.clock_gettime_ns((~pid << 3) | CPU_CLOCK)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, ended_user, ended_system = map(int, fields[11:15])
    waiting_ns, rss_bytes, forgets = _waiting_ns(pid), _rss_bytes(pid), _ignores_children(pid)
    found.cpu_ns[pid] = cpu_ns
    found.ended_ns[pid] = (ended_user + ended_system) * TICK_NS
    found.waiting_ns[pid] = waiting_ns
    found.parents[pid] = int(fields[1])
    found.forgets_children |= forgets
    found.user_ticks += user + ended_user
    found.system_ticks += system + ended_system
    found.rss_bytes += rss_bytes


def _waiting_ns(pid: int) -> int:
    """How long the threads were ready to run while somebody else had their core."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[1])
    return total


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def _ignores_children(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (SIGCHLD - 1) & 1)
