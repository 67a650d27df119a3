"""Run a library's own tests on stock asyncio and on headrace, and say what differs.

    tests/libraries/run LIBRARY [--model MODEL ...] [-- PYTEST'S ARGUMENTS]
    tests/libraries/run --list

Everything is installed into build/libraries/, once.  The models are run as `headrace run` runs
them; without --model, all that work here.  Exit code 1: a test failed on a model, each time that it
was run, and not on stock asyncio; or no test ran on the model at all.
"""

import argparse
import sys

from compared import AGAIN_MAX, Comparison, compare
from environments import Installation, Uninstallable, install
from records import STOCK, Record, run_suite
from suites import SUITES, Suite

import headrace

__all__ = ["main"]


def main() -> int:
    chosen = arguments()
    if chosen.list:
        print(*(suite.requirement for suite in SUITES.values()), sep="\n")
        return 0
    suite = SUITES[chosen.library]
    try:
        installed = install(suite)
    except Uninstallable as error:
        print(f"{suite.requirement} cannot be tested here: {error}", file=sys.stderr)
        return 2
    print(f"{suite.requirement}, Python {sys.version.split()[0]}", flush=True)
    stock = run_suite(suite, installed, STOCK)
    print_stock(stock)
    return max(run_model(suite, installed, stock, model) for model in chosen.model)


def arguments() -> argparse.Namespace:
    working = [info.name for info in headrace.models() if info.available]
    parser = argparse.ArgumentParser(
        prog="tests/libraries/run", description="A library's own tests on headrace."
    )
    parser.add_argument("library", nargs="?", choices=SUITES)
    parser.add_argument("--model", action="append", choices=working, help="default: all")
    parser.add_argument("--list", action="store_true", help="list the libraries")
    chosen = parser.parse_args()
    if chosen.library is None and not chosen.list:
        parser.error(f"which library? One of {', '.join(SUITES)}")
    chosen.model = chosen.model or working
    return chosen


def run_model(suite: Suite, installed: Installation, stock: Record, model: str) -> int:
    ours = run_suite(suite, installed, model)
    comparison = compare(
        stock, ours, lambda subject, tests: run_suite(suite, installed, subject, tests)
    )
    print_model(ours, comparison)
    return int(bool(comparison.only_here) or not ours.on_headrace())


def print_stock(stock: Record) -> None:
    print(f"{STOCK}: {summary(stock)}")
    print_tests("failed on stock asyncio", stock.named("failed"), stock)
    sys.stdout.flush()


def print_model(ours: Record, comparison: Comparison) -> None:
    print(f"{ours.subject}: {summary(ours)}")
    print(f"  ran a loop of this model: {ours.on_headrace()}")
    for loop, count in sorted(ours.elsewhere().items()):
        print(f"  ran {loop}: {count}")
    print(f"  failed on stock asyncio too: {len(comparison.on_stock_too)}")
    again = f"passed when run again (at most {AGAIN_MAX} times)"
    print_tests(again, comparison.sometimes, ours)
    print_tests("failed on this model alone", comparison.only_here, ours)
    sys.stdout.flush()


def summary(record: Record) -> str:
    counts = {result: len(record.named(result)) for result in ("passed", "failed", "skipped")}
    return ", ".join(f"{count} {result}" for result, count in counts.items())


def print_tests(title: str, tests: set[str], record: Record) -> None:
    print(f"  {title}: {len(tests)}")
    for test in sorted(tests):
        print(f"    {test}: {record.outcomes[test].message}")
