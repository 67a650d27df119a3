"""CPython's own asyncio tests, from the interpreter's installed copy, on every model."""

from __future__ import annotations

from typing import Any

import pytest
import runs as suite
from selection import EXPECTED_FAILURES, MAKES_NO_LOOP, NEEDS_CAPABILITY, NOT_RUN, SAME_TESTS
from worker import CLASS_S_MAX

# Elsewhere than on the default Python, ./test leaves what is marked slow to asyncio_suite/run.py.
EVERYWHERE = {"uring", "epoll"}


def wanted() -> list[Any]:
    """(subject, MODULE.CLASS) of all runs.  Where no loop is made, one subject says it all."""
    subjects = suite.subjects()
    return [
        pytest.param(subject, name, marks=() if subject in EVERYWHERE else pytest.mark.slow)
        for subject in subjects
        for name in suite.classes()
        if name not in NOT_RUN
        and name not in SAME_TESTS
        and (name not in MAKES_NO_LOOP or subject == "epoll")
    ]


WANTED = wanted()


def stock_fails_too(runs: suite.Runs, name: str, failed: set[str]) -> set[str]:
    return failed & runs.get(suite.STOCK, name).names("failed") if failed else set()


@pytest.mark.skipif(not WANTED, reason="this interpreter came without test.test_asyncio")
@pytest.mark.timeout(CLASS_S_MAX * 3)
@pytest.mark.parametrize(("subject", "name"), WANTED)
def test_class_passes_but_for_what_is_expected(runs, subject, name):
    try:
        check(runs, subject, name)
    except AssertionError:
        runs.forget(subject, name)
        raise


def check(runs: suite.Runs, subject: str, name: str) -> None:
    run = runs.get(subject, name)
    if "no seccomp filter can be installed here" in run.crash:
        pytest.skip("no seccomp filter can be installed here")
    assert not run.crash, run.crash
    failed = run.names("failed")
    expected = EXPECTED_FAILURES.get(name, {})
    unexpected = failed - set(expected)
    unexpected -= stock_fails_too(runs, name, unexpected)
    assert not unexpected, "\n".join(f"{test}\n{run.text(test)}" for test in sorted(unexpected))
    assert set(expected) & set(run.outcomes) <= failed, "expected failures that pass"
    made = set(run.models)
    if name in MAKES_NO_LOOP:
        assert not made
    elif subject == suite.DENIED:
        assert made <= {"epoll"}
    else:
        assert made <= {subject}


def test_exclusions_are_few_and_each_has_its_reason():
    excluded = [*NOT_RUN.items()]
    for named in (EXPECTED_FAILURES, *NEEDS_CAPABILITY.values()):
        excluded += [
            (f"{name}.{test}", reason)
            for name, tests in named.items()
            for test, reason in tests.items()
        ]
    assert len(excluded) <= 55
    assert all(reason.strip() for _, reason in excluded)
