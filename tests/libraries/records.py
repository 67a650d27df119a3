"""Running a suite on one subject, stock asyncio or a model, and reading what became of it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from environments import Installation
from suites import Suite

from headrace.activate import environment

__all__ = ["STOCK", "Outcome", "Record", "run_suite"]

STOCK = "stock"
PLUGIN = Path(__file__).resolve().parent / "plugin"
SUITE_S_MAX = 3600
TEST_S_MAX = 60
# Pytest's exit codes "all passed" and "some failed"; the others mean that it has not run them all.
RAN_ALL = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of one test: "passed", "skipped" or "failed", why, and on which loops."""

    result: str
    message: str = ""
    loops: tuple[str, ...] = ()


@dataclass
class Record:
    """What became of all tests of one run."""

    subject: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def named(self, result: str) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome.result == result}

    def on_headrace(self) -> int:
        """How many tests ran a loop of this model."""
        mine = f"headrace:{self.subject}"
        return sum(mine in outcome.loops for outcome in self.outcomes.values())

    def elsewhere(self) -> dict[str, int]:
        """How many tests ran which loops that are not this model's."""
        counts: dict[str, int] = {}
        for outcome in self.outcomes.values():
            for loop in outcome.loops:
                if loop != f"headrace:{self.subject}":
                    counts[loop] = counts.get(loop, 0) + 1
        return counts


def run_suite(
    suite: Suite, installed: Installation, subject: str, tests: Sequence[str] = ()
) -> Record:
    """Run *suite*, or only these *tests* of it, on *subject*."""
    name = f"{subject}-again" if tests else subject
    path = installed.folder / f"{name}.record"
    path.unlink(missing_ok=True)
    with open(installed.folder / f"{name}.output", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [installed.python, "-m", "pytest", *arguments_of(suite, tests)],
            cwd=installed.tests,
            env=environment_of(subject, path),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait(SUITE_S_MAX)
        except BaseException as error:
            process.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
    record, running, finished = read_record(subject, path)
    if not finished or process.returncode not in RAN_ALL:
        end = f"pytest ended with {process.returncode}; see {output.name}"
        record.outcomes[running or "pytest"] = Outcome("failed", end)
    return record


def arguments_of(suite: Suite, tests: Sequence[str]) -> list[str]:
    """Pytest's arguments; what is to be tested stands last in the suite's."""
    excluded = [word for test, _ in suite.excluded for word in ("--deselect", test)]
    arguments = [*suite.arguments[:-1], *tests] if tests else suite.arguments
    return ["-p", "headrace_record", "-q", f"--timeout={TEST_S_MAX}", *excluded, *arguments]


def environment_of(subject: str, record: Path) -> dict[str, str]:
    """As `headrace run` makes it, or this process's own, and the plugin to be found by pytest."""
    made = dict(os.environ) if subject == STOCK else environment(subject)
    paths = [*filter(None, made.get("PYTHONPATH", "").split(os.pathsep)), str(PLUGIN)]
    return made | {"HEADRACE_RECORD": str(record), "PYTHONPATH": os.pathsep.join(paths)}


def read_record(subject: str, path: Path) -> tuple[Record, str, bool]:
    """What the plugin wrote, the test that was running last, and did pytest come to its end?"""
    record = Record(subject)
    running, finished = "", False
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        told = json.loads(line)
        finished = finished or "finished" in told
        running = told.get("test", "")
        if "outcome" in told:
            loops = tuple(told["loops"])
            record.outcomes[running] = Outcome(told["outcome"], told["message"], loops)
            running = ""
    return record, running, finished
