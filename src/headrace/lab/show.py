"""The end of a comparison: its table, and the files that were asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.kernel.standard_output import OutputError, standard_output
from headrace.lab.machine import describe_machine, machine_line, versions
from headrace.lab.options import NOTHING_MEASURED, STANDARD_OUTPUT, Options
from headrace.lab.page import build_page
from headrace.lab.process import Cores
from headrace.lab.report import build_report, json_text, title_line
from headrace.lab.summary import Row
from headrace.lab.table import ResultConsole, print_result

PROGRAM = "headrace compare"
Writer = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Written:
    """Whether a report was written, and what to say about it."""

    is_written: bool
    line: str


def show(options: Options, rows: Sequence[Row], cores: Cores, *, interrupted: bool) -> bool:
    """Writes the files and prints the table; answers whether all of it was written."""
    machine = describe_machine()
    report = build_report(options, rows, machine, versions(), cores, interrupted=interrupted)
    return deliver(
        PROGRAM,
        report,
        [(options.json, json_text), (options.html, build_page)],
        lambda: print_rows(options, report, machine_line(machine)),
    )


def deliver(
    program: str,
    report: Mapping[str, Any],
    wanted: Sequence[tuple[str | None, Writer]],
    print_table: Callable[[], None],
) -> bool:
    """Writes the reports that have a path, and the table; answers whether all was written."""
    # The files first: after a hang-up, or when nobody reads standard output any more, which ends
    # this process, they are asked for still.
    ordered = sorted(wanted, key=lambda one: one[0] == STANDARD_OUTPUT)
    files = [write(path, text, report, program) for path, text in ordered if path is not None]
    try:
        with standard_output():
            print_table()
    except OutputError as error:
        files.append(Written(False, f"{program}: {error}"))
    with suppress(OSError):  # standard error may be the same file, and as full
        for file in files:
            if file.line:
                print(file.line, file=sys.stderr)
    return all(file.is_written for file in files)


def print_rows(options: Options, report: Mapping[str, Any], footer: str) -> None:
    if not report["rows"]:
        print(NOTHING_MEASURED, file=sys.stderr)
        return
    if report["interrupted"]:
        print("interrupted; measured so far:", file=sys.stderr)
    # Standard output is one document then, for a program to read.
    is_taken = STANDARD_OUTPUT in (options.json, options.html)
    print_result(
        ResultConsole(stderr=is_taken), report["rows"], title_line(report["flags"]), footer
    )


def write(path: str, text: Writer, report: Mapping[str, Any], program: str) -> Written:
    """Writes a report to its file or to standard output."""
    try:
        document = text(report)
    except Exception as error:  # a defect of ours: the other reports and the table still come
        return Written(False, f"{program}: {path}: {type(error).__name__}: {error}")
    try:
        if path == STANDARD_OUTPUT:
            with standard_output():
                sys.stdout.write(document)
        else:
            Path(path).write_text(document, encoding="utf-8")
    except OutputError as error:
        return Written(False, f"{program}: {error}")
    except BrokenPipeError:
        raise
    except OSError as error:
        return Written(False, f"{program}: {path}: {error.strerror}")
    return Written(True, "" if path == STANDARD_OUTPUT else f"wrote {path}")
