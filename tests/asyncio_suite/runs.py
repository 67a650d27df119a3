"""Runs of CPython's asyncio tests: each class in a process of its own, several at a time.

A subject is what the tests run on: stock asyncio, a model, or headrace's default where the kernel
denies io_uring.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import headrace

FOLDER = Path(__file__).parent
WORKER = FOLDER / "worker.py"
DENY_IO_URING = FOLDER.parent / "deny_io_uring.py"
STOCK = "stock"
DENIED = "io_uring-denied"
# The tests mostly wait; a class that takes longer than this hangs.
CLASS_S_MAX = 100
# More than there are cores, because the tests wait; few enough that their own time-outs hold.
CLASSES_AT_ONCE = 3


@dataclass(frozen=True)
class Run:
    """What became of one class on one subject."""

    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    crash: str = ""

    def names(self, outcome: str) -> set[str]:
        return {name for name, (became, _) in self.outcomes.items() if became == outcome}

    def text(self, name: str) -> str:
        return self.outcomes.get(name, ("", ""))[1]


def subjects() -> list[str]:
    """What is tested here: every model there is, and the default where io_uring is denied.

    Or those of HEADRACE_SUITE_SUBJECTS, comma-separated.
    """
    there = [*(info.name for info in headrace.models() if info.available), DENIED]
    wanted = os.environ.get("HEADRACE_SUITE_SUBJECTS")
    return there if wanted is None else [name for name in there if name in wanted.split(",")]


def command_of(subject: str) -> list[str]:
    under = [sys.executable, str(DENY_IO_URING)] if subject == DENIED else []
    return [*under, sys.executable, str(WORKER)]


def environment_of(subject: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "HEADRACE_MODEL"}
    if subject != STOCK:
        environment["HEADRACE_MODEL"] = "" if subject == DENIED else subject
    return environment


def classes() -> list[str]:
    """MODULE.CLASS of all that this interpreter's suite has; none if it has no suite."""
    ended = subprocess.run(
        command_of(STOCK), env=environment_of(STOCK), capture_output=True, text=True, timeout=60
    )
    if "No module named 'test" in ended.stderr:
        return []
    return list(json.loads(ended.stdout.splitlines()[-1]))


def run_class(subject: str, name: str) -> Run:
    """Run MODULE.CLASS on *subject*, in a process and a folder of its own, bounded."""
    # The tests write temporary files where they stand, which a killed one leaves behind.
    with tempfile.TemporaryDirectory() as folder:
        return _run_in(folder, subject, name)


def _run_in(folder: str, subject: str, name: str) -> Run:
    process = subprocess.Popen(
        [*command_of(subject), *name.split(".")],
        env=environment_of(subject),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    try:
        output, errors = process.communicate(timeout=CLASS_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        return Run(crash=f"hangs: killed after {CLASS_S_MAX} s\n{errors[-4000:]}")
    try:
        answer = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return Run(crash=f"died, exit code {process.returncode}\n{errors[-4000:]}")
    outcomes = {test: (outcome, text) for test, (outcome, text) in answer["outcomes"].items()}
    return Run(outcomes, tuple(answer["models"]))


class Runs:
    """Runs that have been asked for, several at a time, each made once."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(CLASSES_AT_ONCE)
        self.made: dict[tuple[str, str], Future[Run]] = {}

    def ask(self, wanted: Iterable[tuple[str, str]]) -> None:
        for subject, name in wanted:
            if (subject, name) not in self.made:
                self.made[subject, name] = self.executor.submit(run_class, subject, name)

    def get(self, subject: str, name: str) -> Run:
        self.ask([(subject, name)])
        return self.made[subject, name].result()

    def close(self) -> None:
        self.executor.shutdown(cancel_futures=True)
