"""The command line: which scenarios, how much of them, and where the results go."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from headrace.lab.stopping import Stopped, stopping_signals
from suite import machine, page, results
from suite.cell import Cell, Plan, Scenario
from suite.contenders import named
from suite.environment import BENCH
from suite.render import terminal_table
from suite.results import Document
from suite.rounds import CellResult, measure_cell

SCENARIOS = BENCH / "scenarios"
ROUNDS = 7
ROUNDS_QUICK = 3
SECONDS = 0.3
SECONDS_QUICK = 0.2
EPILOG = """examples:
  bench/run --list
  bench/run tcp_echo --quick
  bench/run tcp_echo --filter 'readline, 1 KiB' --loops uring,uvloop,rloop --full
  bench/run scheduling --rounds 11 --json /tmp/scheduling.json
  bench/run --all                 all scenarios, bench/results/ and bench/RESULTS.md"""


def scenario_names() -> list[str]:
    return sorted(path.stem for path in SCENARIOS.glob("[a-z]*.py"))


def load_scenario(name: str) -> Scenario:
    found: Scenario = importlib.import_module(f"scenarios.{name}").SCENARIO
    return found


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="headrace beside every other asyncio loop, and beside C",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help="their names; see --list")
    add("--all", action="store_true", help="all scenarios; writes bench/results and RESULTS.md")
    add("--list", action="store_true", help="the scenarios and their cells, measuring nothing")
    add("--quick", action="store_true", help="the few cells of a daily look, three rounds")
    add("--full", action="store_true", help="the whole matrix: hours")
    add(
        "--filter",
        metavar="TEXT",
        action="append",
        help="only cells with TEXT in their name; all of several",
    )
    add("--only-cell", metavar="NAME", help="only the cell of this name")
    add("--loops", metavar="A,B,C", help="only these contenders")
    add("--rounds", type=int, metavar="N", help=f"default {ROUNDS}, with --quick {ROUNDS_QUICK}")
    add("--seconds", type=float, metavar="S", help=f"of one stretch of load, default {SECONDS}")
    add("--json", type=Path, metavar="FILE", help="write the raw data there")
    add(
        "--write",
        action="store_true",
        help="keep the data in bench/results, and make RESULTS.md anew",
    )
    add(
        "--page",
        action="store_true",
        help="make RESULTS.md anew of bench/results, measuring nothing",
    )
    add(
        "--lock",
        type=Path,
        metavar="FILE",
        help="hold this lock while a cell is measured: where several people measure",
    )
    options = parser.parse_args(argv)
    unknown = set(options.scenarios) - set(scenario_names())
    if unknown:
        parser.error(
            f"unknown scenario {', '.join(sorted(unknown))}; known: {', '.join(scenario_names())}"
        )
    if options.all and options.scenarios:
        parser.error("--all is all scenarios: name some, or say --all")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least 1")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    if options.write and is_partial(options):
        parser.error("--write keeps whole scenarios: no --quick, --filter, --only-cell or --loops")
    if not (options.scenarios or options.all or options.list or options.page):
        parser.error("name a scenario, or --all, or --list")
    return options


def is_partial(options: argparse.Namespace) -> bool:
    """Whether it measures less than what the page shows."""
    return bool(options.quick or options.filter or options.only_cell or options.loops)


def plan_of(options: argparse.Namespace) -> Plan:
    quick = options.quick
    return Plan(
        rounds=options.rounds or (ROUNDS_QUICK if quick else ROUNDS),
        seconds=options.seconds or (SECONDS_QUICK if quick else SECONDS),
        quick=quick,
        full=options.full or options.only_cell is not None,
    )


def chosen_cells(scenario: Scenario, plan: Plan, options: argparse.Namespace) -> list[Cell]:
    cells = scenario.chosen(plan)
    if options.only_cell is not None:
        cells = [cell for cell in cells if cell.name == options.only_cell]
    for text in options.filter or ():
        cells = [cell for cell in cells if text in cell.name]
    return cells


def measured_cells(scenario: Scenario, plan: Plan, options: argparse.Namespace) -> list[Cell]:
    """The chosen cells in which somebody takes part that is asked for."""
    cells = chosen_cells(scenario, plan, options)
    if not options.loops:
        return cells
    names = options.loops.split(",")
    return [cell for cell in cells if named(cell.contenders, names)]


def require_cells(names: Sequence[str], plan: Plan, options: argparse.Namespace) -> None:
    """Before anything is measured.

    Raises:
        SystemExit: no cell and no contender is what was asked for.
    """
    scenarios = [load_scenario(name) for name in names]
    cells = [cell for each in scenarios for cell in chosen_cells(each, plan, options)]
    if not cells:
        raise SystemExit("bench/run: no cell is called so; bench/run --list has their names")
    known = {contender.name for cell in cells for contender in cell.contenders}
    unknown = set(options.loops.split(",") if options.loops else ()) - known
    if unknown:
        raise SystemExit(
            f"bench/run: unknown contender {', '.join(sorted(unknown))}; "
            f"known: {', '.join(sorted(known))}"
        )


def measure_scenario(scenario: Scenario, plan: Plan, options: argparse.Namespace) -> Document:
    """Measures cell after cell, and shows each as soon as it is known."""
    names = options.loops.split(",") if options.loops else None
    done: list[CellResult] = []
    document = results.document_of(scenario, plan, done)
    for cell in measured_cells(scenario, plan, options):
        with locked(options.lock):
            done.append(measure_cell(cell, named(cell.contenders, names), plan, progress(cell)))
        erase_progress()
        document = results.document_of(scenario, plan, done)
        print(terminal_table(document["cells"][-1]), flush=True)
    return document


class progress:  # noqa: N801 (it is used as the function that it is)
    """One line on a terminal: which cell, who, which round."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __call__(self, who: str, number: int) -> None:
        if sys.stderr.isatty():
            line = f"{self.cell.name}: round {number + 1}, {who}"
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def erase_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def show_list(names: Sequence[str], plan: Plan) -> None:
    for name in names:
        scenario = load_scenario(name)
        print(f"{name}: {scenario.summary}")
        usual = [cell.name for cell in scenario.chosen(plan)]
        for cell in scenario.cells():
            print(f"    {cell.name}{'' if cell.name in usual else '   (--full)'}")


def run(argv: Sequence[str]) -> int:
    options = parse_arguments(argv)
    plan = plan_of(options)
    names = options.scenarios or scenario_names()
    if options.list:
        show_list(names, plan)
        return 0
    if options.page:
        page.write()
        return 0
    require_cells(names, plan, options)
    try:
        with stopping_signals():
            measure_all(names, plan, options)
    except Stopped as stopped:
        print(f"stopped by {stopped}", file=sys.stderr)
        return 128 + stopped.number
    return 0


def measure_all(names: Sequence[str], plan: Plan, options: argparse.Namespace) -> None:
    print(machine.LINE)
    machine.prepare_load()
    documents = []
    keep = options.write or (options.all and not is_partial(options))
    for name in names:
        began_s = time.monotonic()
        scenario = load_scenario(name)
        print(f"\n== {name}: {scenario.summary}")
        documents.append(measure_scenario(scenario, plan, options))
        if keep:
            results.write(documents[-1])
        print(f"   {time.monotonic() - began_s:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(results.rounded(documents), indent=1) + "\n")
    if keep:
        page.write()
