"""``headrace claims``: chosen, run one after the other, and shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.claims.catalogue import UnknownClaimError, choose
from headrace.claims.claim import FAILED, SCALES, Claim
from headrace.claims.options import Options, parse
from headrace.kernel.standard_output import standard_output
from headrace.lab.options import STANDARD_OUTPUT, BadArgumentsError, require_packages
from headrace.lab.stopping import Stopped, stopping_signals

if TYPE_CHECKING:
    from headrace.claims.run import Result

PROGRAM = "headrace claims"
NOTHING_MEASURED = f"{PROGRAM}: nothing was measured"
EXIT_NOTHING_MEASURED = 1
EXIT_BAD_ARGUMENTS = 2


def main(words: list[str]) -> int:
    """Runs ``headrace claims`` and answers its exit status.

    0: at least one claim has a verdict. 1: none has, or a report could not be written. 2: bad
    arguments, or the lab's packages are missing. 128 + N: signal N ended it; what was measured so
    far has been shown.
    """
    try:
        with stopping_signals():
            return prepare_and_measure(words)
    except Stopped as stop:
        return 128 + stop.number


def prepare_and_measure(words: list[str]) -> int:
    try:
        options = parse(words)
        claims = choose(options.only)
        require_packages()
    except (BadArgumentsError, UnknownClaimError) as error:
        return complain(f"{PROGRAM}: {error}")
    if options.list:
        return show_list(claims)
    return measure_and_show(options, claims)


def complain(line: str) -> int:
    print(line, file=sys.stderr)
    return EXIT_BAD_ARGUMENTS


def show_list(claims: Sequence[Claim]) -> int:
    from headrace.claims.table import list_lines, print_lines
    from headrace.lab.table import ResultConsole

    console = ResultConsole()
    columns = console.width if console.is_terminal else None
    with standard_output():
        print_lines(console, list_lines([claim.described() for claim in claims], columns))
    return 0


def measure_and_show(options: Options, claims: Sequence[Claim]) -> int:
    from headrace.lab.process import adopt_orphans

    adopt_orphans()
    results: list[Result] = []
    status = 0
    try:
        measure_all(claims, options.scale, results)
    except Stopped as stop:
        status = 128 + stop.number
    all_written = show(options, results, interrupted=status != 0)
    has_verdict = any(result.finding.verdict != FAILED for result in results)
    if status == 0 and not (all_written and has_verdict):
        status = EXIT_NOTHING_MEASURED
    return status


def measure_all(claims: Sequence[Claim], scale: str, results: list[Result]) -> None:
    """Fills ``results``; a failing experiment is a result, too."""
    from rich.console import Console

    from headrace.claims.run import run_claim
    from headrace.lab.progress import ProgressLine

    with ProgressLine(Console(stderr=True), len(claims)) as line:
        for claim in claims:
            line.say(claim.name, claim.group)
            results.append(run_claim(claim, SCALES[scale]))
            line.advance()


def show(options: Options, results: Sequence[Result], *, interrupted: bool) -> bool:
    """Writes the files and prints the table; answers whether all of it was written."""
    from headrace.claims.page import build_page
    from headrace.claims.report import build_report
    from headrace.lab.machine import describe_machine, machine_line, versions
    from headrace.lab.report import json_text
    from headrace.lab.show import deliver

    machine = describe_machine()
    report = build_report(results, options.scale, machine, versions(), interrupted=interrupted)
    return deliver(
        PROGRAM,
        report,
        [(options.json, json_text), (options.html, build_page)],
        lambda: print_table(options, report, machine_line(machine)),
    )


def print_table(options: Options, report: dict[str, object], footer: str) -> None:
    from headrace.claims.table import FULL_MAX, print_lines, table_lines
    from headrace.lab.table import ResultConsole

    rows = report["claims"]
    assert isinstance(rows, list)
    if not rows:
        print(NOTHING_MEASURED, file=sys.stderr)
        return
    if report["interrupted"]:
        print("interrupted; measured so far:", file=sys.stderr)
    # Standard output is one document then, for a program to read.
    console = ResultConsole(stderr=STANDARD_OUTPUT in (options.json, options.html))
    columns = console.width if console.is_terminal else None
    title = f"What is said about Unix I/O models, measured ({options.scale})"
    full = options.only is not None and len(rows) <= FULL_MAX
    print_lines(console, table_lines(rows, title, footer, columns, full=full))
