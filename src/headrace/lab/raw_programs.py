"""The raw programs: each I/O model by hand, a server of sixty lines, beside headrace's models.

They stand in ``examples/raw`` of a clone, where people read and run them.  ``raw`` beside this
file is a symbolic link to there, and in a wheel a folder with the files themselves: so an installed
headrace compares them as well, and the repository has each of them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("raw")
PREFIX = "raw:"
MISSING = "the raw programs are missing (examples/raw of a clone): reinstall headrace"


@dataclass(frozen=True)
class Limit:
    """How many connections a program serves at once, and why no more."""

    connections: int
    reason: str

    def refusal(self, connections: int) -> str | None:
        """Why it cannot carry so many, or None if it can."""
        if connections <= self.connections:
            return None
        most = "one connection" if self.connections == 1 else f"{self.connections:,} connections"
        busy = max(1, self.connections // 2)
        return (
            f"serves {most} at a time, not {connections:,}: {self.reason}; try --busy {busy} --idle"
            f" {self.connections - busy}"
        )


NO_LIMIT = Limit(2**31, "")
LIMITS = {  # by the names of their files, in the order of Stevens' models
    "blocking": Limit(1, "its only thread waits for one client until that leaves"),
    "threads": NO_LIMIT,
    "thread_pool": Limit(64, "each of its 64 threads waits for one client until that leaves"),
    "processes": NO_LIMIT,
    "nonblocking": NO_LIMIT,
    # 1,024 descriptors, without the three standard ones and the listener.
    "select_server": Limit(1020, "select() watches descriptors up to 1023 only"),
    "poll_server": NO_LIMIT,
    "epoll_level": NO_LIMIT,
    "epoll_edge": NO_LIMIT,
    "selectors_server": NO_LIMIT,
    "signal_driven": NO_LIMIT,
    "aio_server": Limit(1000, "glibc has a thread wait for each client, and it gets 1,000"),
    "tiny_event_loop": NO_LIMIT,
}
NAMES = tuple(PREFIX + file for file in LIMITS)


@dataclass(frozen=True)
class Program:
    """A raw server: its file, or why it cannot take part."""

    name: str
    path: Path
    reason: str | None


def programs(connections: int) -> list[Program]:
    """The raw servers, each with the reason why it cannot carry so many connections."""
    found = []
    for file, limit in LIMITS.items():
        path = FOLDER / f"{file}.py"
        reason = limit.refusal(connections) if path.is_file() else MISSING
        found.append(Program(PREFIX + file, path, reason))
    return found
