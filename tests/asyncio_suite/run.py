"""Run CPython's asyncio tests on headrace and print what became of them.

    python tests/asyncio_suite/run.py [--on SUBJECT ...] [CLASS or MODULE ...]

SUBJECT is "stock", a model, or "io_uring-denied"; the default is all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from runs import STOCK, Runs, classes, subjects
from selection import EXPECTED_FAILURES, MAKES_NO_LOOP, NOT_RUN, SAME_TESTS

COLUMNS = ("passed", "failed", "expected", "skipped")


def selected(patterns: list[str]) -> list[str]:
    left_out = SAME_TESTS | MAKES_NO_LOOP | set(NOT_RUN)
    found = [name for name in classes() if name not in left_out]
    return [name for name in found if not patterns or any(name.startswith(p) for p in patterns)]


def counted(runs: Runs, subject: str, names: list[str]) -> tuple[Counter[str], list[str]]:
    """How many tests there are of each outcome, and a line for each that failed."""
    counts: Counter[str] = Counter()
    lines = []
    for name in names:
        run = runs.get(subject, name)
        expected = EXPECTED_FAILURES.get(name, {}) if subject != STOCK else {}
        for test, (outcome, text) in run.outcomes.items():
            became = "expected" if outcome == "failed" and test in expected else outcome
            counts[became] += 1
            if became == "failed":
                lines.append(f"{subject} {name}.{test}\n{text}")
        if run.crash:
            counts["failed"] += 1
            lines.append(f"{subject} {name}: {run.crash}")
    return counts, lines


def main() -> None:
    parser = argparse.ArgumentParser(description="CPython's asyncio tests on headrace")
    parser.add_argument(
        "--on",
        action="append",
        choices=[STOCK, *subjects()],
        help="may be given again; default: all",
    )
    parser.add_argument(
        "what", nargs="*", help="what the name of a class begins with (test_events); default: all"
    )
    chosen = parser.parse_args()
    for name in chosen.what:
        if not selected([name]):
            parser.error(f"no class of CPython's asyncio tests that is run begins with {name!r}")
    names = selected(chosen.what)
    on = chosen.on or [STOCK, *subjects()]
    runs = Runs()
    runs.ask((subject, name) for subject in on for name in names)
    failures = []
    print(f"Python {sys.version.split()[0]}, {len(names)} classes")
    print(f"{'':16}" + "".join(f"{column:>10}" for column in COLUMNS))
    for subject in on:
        counts, lines = counted(runs, subject, names)
        print(f"{subject:16}" + "".join(f"{counts[column]:>10}" for column in COLUMNS), flush=True)
        failures += lines
    runs.close()
    print("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
