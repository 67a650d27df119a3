"""Runs of CPython's asyncio tests: several workers at a time, each class in a process of its own.

A subject is what the tests run on: stock asyncio, a model, or headrace's default where the kernel
denies io_uring.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import headrace

FOLDER = Path(__file__).parent
WORKER = FOLDER / "worker.py"
DENY_IO_URING = FOLDER.parent / "deny_io_uring.py"
STOCK = "stock"
DENIED = "io_uring-denied"
# More than there are cores, because the tests wait; few enough that their own time-outs hold.
WORKERS_AT_ONCE = 3
NAP_US = "200"


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
    # The others, whose time-outs count, need the core, too.
    environment.setdefault("HEADRACE_NAP_US", NAP_US)
    return environment


def classes() -> list[str]:
    """MODULE.CLASS of all that this interpreter's suite has; none if it has no suite."""
    ended = subprocess.run(
        command_of(STOCK), env=environment_of(STOCK), capture_output=True, text=True, timeout=60
    )
    if "No module named 'test" in ended.stderr:
        return []
    return list(json.loads(ended.stdout.splitlines()[-1]))


class Runs:
    """Runs that have been asked for, several at a time, each made once."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(WORKERS_AT_ONCE)
        self.made: dict[tuple[str, str], Future[Run]] = {}
        self.workers: set[subprocess.Popen[str]] = set()

    def ask(self, wanted: Iterable[tuple[str, str]]) -> None:
        by_subject: dict[str, list[str]] = {}
        for subject, name in wanted:
            if (subject, name) not in self.made:
                self.made[subject, name] = Future()
                by_subject.setdefault(subject, []).append(name)
        for subject, names in by_subject.items():
            # In turns: those of a module, which take long together, are not all with one worker.
            for first in range(WORKERS_AT_ONCE):
                if names[first::WORKERS_AT_ONCE]:
                    self.executor.submit(self.work, subject, names[first::WORKERS_AT_ONCE])

    def work(self, subject: str, names: list[str]) -> None:
        """Have one worker run these, and say of each what became of it."""
        why = "its worker was not started"
        try:
            with tempfile.TemporaryFile("w+") as errors:
                for name, run in self.answers(subject, names, errors):
                    self.made[subject, name].set_result(run)
                errors.seek(0)
                why = f"its worker has ended before\n{errors.read()[-4000:]}"
        except Exception as error:
            why = f"its worker failed: {error!r}"
        for name in names:
            if not self.made[subject, name].done():
                self.made[subject, name].set_result(Run(crash=why))

    def answers(self, subject: str, names: list[str], errors: IO[str]) -> Iterator[tuple[str, Run]]:
        process = subprocess.Popen(
            [*command_of(subject), *names],
            env=environment_of(subject),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        self.workers.add(process)
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                answer = json.loads(line)
                outcomes = {test: tuple(became) for test, became in answer["outcomes"].items()}
                yield answer["name"], Run(outcomes, tuple(answer["models"]), answer["crash"])
        self.workers.discard(process)

    def get(self, subject: str, name: str) -> Run:
        self.ask([(subject, name)])
        return self.made[subject, name].result()

    def forget(self, subject: str, name: str) -> None:
        """Who asks again has it made again."""
        del self.made[subject, name]

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        for process in list(self.workers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.executor.shutdown()
