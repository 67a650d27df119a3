"""Cells measured by a program of their own: a fresh process for each contender and round.

The program is pinned to the core that servers are measured on, and prints one line of JSON: the
figures by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from headrace.lab.stopping import die_with_parent
from suite import environment
from suite.cell import Cell, Failure, Measure, Plan, Sample
from suite.contenders import Contender
from suite.machine import LOAD_AND_SERVER

TIMEOUT_S = 120
CPU_SHARE_MIN = 0.9
LAST_CHARACTERS_MAX = 160
NOT_HERE = 77
"""The exit status of a program that says why this contender cannot do it."""

CommandOf = Callable[[Contender, Plan], Sequence[str]]


def python(file: str, *arguments: str) -> list[str]:
    return [sys.executable, str(environment.BENCH / "programs" / file), *arguments]


def program_cell(
    name: str,
    contenders: Sequence[Contender],
    command_of: CommandOf,
    *,
    primary: str,
    columns: Sequence[str],
    quick: bool = True,
    busy: bool = True,
) -> Cell:
    """``busy`` says that the program never waits: where it got no CPU, somebody else did."""

    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        command = command_of(contender, plan)
        yield lambda: measure(command, busy=busy)

    return Cell(name, prepare, contenders, primary, columns, quick=quick)


def measure(command: Sequence[str], *, busy: bool) -> Sample:
    figures = run(command)
    share = figures.pop("cpu_share", 1.0)
    disturbed = f"it had its core {share:.0%} of the time" if share < CPU_SHARE_MIN else None
    return Sample(figures, disturbed=disturbed if busy else None)


def run(command: Sequence[str]) -> dict[str, float]:
    """What the program printed.

    Raises:
        Failure: it ended with an error, with its last line; or it took too long.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment.variables(),
        preexec_fn=pin_measured,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Failure(f"not done after {TIMEOUT_S} s") from None
    finally:
        end_session(process)
    if process.returncode != 0:
        raise Failure(last_words(process.returncode, errors))
    found: dict[str, float] = json.loads(output)
    return found


def pin_measured() -> None:
    """Runs in the child before its program."""
    os.sched_setaffinity(0, LOAD_AND_SERVER.server)
    die_with_parent()


def end_session(process: subprocess.Popen[str]) -> None:
    """Whatever it has started ends too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def last_words(status: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1][-LAST_CHARACTERS_MAX:] if lines else "no message"
    if status == NOT_HERE:
        return last
    if status < 0:
        return f"died of {signal.Signals(-status).name}: {last}"
    return last
