"""strace(1): whether it can be used, how it is called, and what it has written.

It stops the traced thread at each end of each system call, which makes a call some 10 to 50 µs
slower; so it tells who calls what, and not how long that takes without it.

Every thread has a file of its own (-ff): one line is one call, never cut in two by another
thread's.  Its stamps are of CLOCK_REALTIME.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "strace"
PROBE_S_MAX = 10.0
OPTIONS = (
    "-ff",
    "-qq",
    "-s0",
    "--absolute-timestamps=format:unix,precision:ns",
    "--syscall-times=ns",
)
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
CALL = re.compile(
    r"(?P<at>\d+\.\d+) (?P<name>\w+)\((?P<arguments>.*)\)\s+="
    r" (?P<result>0x[0-9a-f]+|-?\d+|\?)(?: (?P<error>E[A-Z0-9]+))?.*?(?: <(?P<took>\d+\.\d+)>)$"
)
# What strace writes before its reason: its own path, and of its functions the one that tried.
OWN_NAME = re.compile(r"^\S*strace: (?:test_\w+: )?")
SIGNAL = re.compile(r"(?P<at>\d+\.\d+) --- (?P<name>SIG\w+) ")


@dataclass(frozen=True)
class Call:
    """A system call of a thread, or, without a duration, a signal that it got."""

    thread: int
    name: str
    arguments: str
    result: int
    error: str
    start: int
    """Nanoseconds of CLOCK_MONOTONIC; the same for ``end``."""
    end: int

    @property
    def fd(self) -> int | None:
        """The descriptor it was called for, where that stands first."""
        found = re.match(r"\d+", self.arguments)
        return int(found[0]) if found else None


def refusal() -> str | None:
    """None where strace can be used, else why not, in a few words."""
    path = shutil.which(PROGRAM)
    if path is None:
        return "strace is not installed"
    try:
        probe = subprocess.run(
            [path, *OPTIONS[1:], "-o", "/dev/null", "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=PROBE_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"strace cannot be used: {error}"
    if probe.returncode == 0:
        return None
    said = probe.stderr.decode(errors="replace").strip().splitlines()
    words = said[0] if said else f"it ended with status {probe.returncode}"
    return f"strace is not permitted: {OWN_NAME.sub('', words)}{yama_words()}"


def yama_words() -> str:
    """What the Yama security module adds; 0 and 1 permit what is done here."""
    try:
        scope = int(YAMA.read_text())
    except (OSError, ValueError):
        return ""
    return f" (kernel.yama.ptrace_scope is {scope})" if scope > 1 else ""


def command(program: Sequence[str], output: str) -> list[str]:
    """*program* under strace, which writes ``OUTPUT.THREAD`` for each thread."""
    return [PROGRAM, *OPTIONS, "-o", output, "--", *program]


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC; of some tries the one that was disturbed least."""
    found = []
    for _ in range(10):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        found.append((after - before, real - (before + after) // 2))
    return min(found)[1]


def read_calls(output: str, offset_ns: int) -> list[Call]:
    """All calls in the files of *output*, by their start."""
    path = Path(output)
    calls: list[Call] = []
    for file in path.parent.glob(f"{path.name}.*"):
        thread = int(file.suffix[1:])
        calls += parse(file.read_text(errors="replace").splitlines(), thread, offset_ns)
    return sorted(calls, key=lambda call: call.start)


def parse(lines: Sequence[str], thread: int, offset_ns: int) -> Iterator[Call]:
    """The calls that have ended, and the signals; a call that never returned has taken nothing."""
    for line in lines:
        if found := CALL.match(line):
            start = nanoseconds(found["at"]) - offset_ns
            yield Call(
                thread,
                found["name"],
                found["arguments"],
                # A signal has interrupted it; what it will answer stands in no line.
                -1 if found["result"] == "?" else int(found["result"], 0),
                found["error"] or "",
                start,
                start + nanoseconds(found["took"]),
            )
        elif found := SIGNAL.match(line):
            at = nanoseconds(found["at"]) - offset_ns
            yield Call(thread, found["name"], "", 0, "", at, at)


def nanoseconds(seconds: str) -> int:
    """Exactly: a float has not enough digits for a time of day in nanoseconds."""
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
