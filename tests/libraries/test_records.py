"""What the record of a run says: nothing that goes wrong may look like a test that passed."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from compared import compare
from environments import Installation
from records import STOCK, Outcome, Record, run_suite
from suites import Suite

HEADRACE = "poll"
SUITE = Suite("sample", "1", (), ("tests",), ("-p", "no:cacheprovider", "test_sample.py"))

SAMPLE = """\
import asyncio, os, pytest

def test_makes_no_loop(): pass
def test_runs_a_loop(): asyncio.run(asyncio.sleep(0))
def test_skips(): pytest.skip("why not")
def test_fails(): assert 1 == 2

@pytest.fixture
def broken():
    yield
    raise OSError("on the way out")

def test_passes_but_its_fixture_fails(broken): pass
"""


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    """A library whose environment is this one."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "venv" / "bin" / "python").chmod(0o700)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sample.py").write_text(SAMPLE)
    return Installation(tmp_path)


@pytest.mark.parametrize("subject", [STOCK, HEADRACE])
def test_record_tells_what_became_of_each_test(installed, subject):
    record = run_suite(SUITE, installed, subject)
    assert {name.split("::")[1]: each.result for name, each in record.outcomes.items()} == {
        "test_makes_no_loop": "passed",
        "test_runs_a_loop": "passed",
        "test_skips": "skipped",
        "test_fails": "failed",
        "test_passes_but_its_fixture_fails": "failed",
    }
    assert record.outcomes["test_sample.py::test_fails"].message == "assert 1 == 2"


def test_record_tells_which_loop_ran(installed):
    here = run_suite(SUITE, installed, HEADRACE)
    assert here.on_headrace() == 1
    assert not here.elsewhere()
    stock = run_suite(SUITE, installed, STOCK)
    assert stock.on_headrace() == 0
    assert stock.elsewhere() == {"asyncio.unix_events._UnixSelectorEventLoop": 1}


def test_record_names_the_test_in_which_the_interpreter_died(installed):
    (installed.tests / "test_sample.py").write_text(SAMPLE + "\ndef test_dies(): os._exit(3)\n")
    record = run_suite(SUITE, installed, HEADRACE)
    died = record.outcomes["test_sample.py::test_dies"]
    assert died.result == "failed"
    assert "ended with 3" in died.message
    assert len(record.outcomes) == 6


@pytest.mark.parametrize("text", ["import no_such_module\n", "", None], ids=str)
def test_record_of_a_suite_that_does_not_run_is_a_failure(installed, text):
    if text is None:
        (installed.tests / "test_sample.py").unlink()
    else:
        (installed.tests / "test_sample.py").write_text(text)
    assert run_suite(SUITE, installed, HEADRACE).named("failed")


def test_run_leaves_out_what_is_excluded(installed):
    excluded = replace(SUITE, excluded=(("test_sample.py::test_fails", "says nothing"),))
    record = run_suite(excluded, installed, HEADRACE)
    assert "test_sample.py::test_fails" not in record.outcomes
    assert len(record.outcomes) == 4


def record_of(subject: str, **results: str) -> Record:
    return Record(subject, {f"file::{name}": Outcome(each) for name, each in results.items()})


def test_compare_sorts_failures_by_what_repeating_them_shows():
    stock = record_of(STOCK, a="passed", b="failed", c="passed", d="passed", e="skipped")
    ours = record_of(HEADRACE, a="failed", b="failed", c="failed", d="failed", e="passed")
    again = {
        STOCK: record_of(STOCK, a="passed", c="passed", d="failed"),
        HEADRACE: record_of(HEADRACE, a="failed", c="passed", d="failed"),
    }
    asked = []

    def rerun(subject, tests):
        asked.append((subject, tests))
        return again[subject]

    comparison = compare(stock, ours, rerun)
    assert comparison.only_here == {"file::a"}
    assert comparison.sometimes == {"file::c"}
    assert comparison.on_stock_too == {"file::b", "file::d"}
    first, second = ["file::a", "file::c", "file::d"], ["file::a"]
    assert asked == [(STOCK, first), (HEADRACE, first), (STOCK, second), (HEADRACE, second)]


def test_compare_repeats_nothing_when_nothing_differs():
    stock, ours = record_of(STOCK, a="failed"), record_of(HEADRACE, a="failed", b="passed")
    comparison = compare(stock, ours, lambda subject, tests: pytest.fail("ran again"))
    assert not comparison.only_here
    assert comparison.on_stock_too == {"file::a"}


def test_compare_keeps_what_is_no_test_and_cannot_be_repeated():
    ours = Record(HEADRACE, {"pytest": Outcome("failed", "ended with -9")})
    comparison = compare(record_of(STOCK), ours, lambda subject, tests: pytest.fail("ran again"))
    assert comparison.only_here == {"pytest"}
