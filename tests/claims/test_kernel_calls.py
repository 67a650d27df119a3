"""Calls that decide are counted by the kernel; where it may not be asked nothing is decided."""

import os

import pytest

from headrace.claims import kernel_calls
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import SCALES, UNDECIDED
from headrace.claims.sources import NotDecidableError
from headrace.claims.worker import find
from headrace.lab.syscalls import NotCountableError

BY_COUNTING = ["select-wins-active", "select-two-calls", "edge-faster", "switch-in-user-space"]


@pytest.fixture
def _permitted():
    try:
        with kernel_calls.kernel_calls():
            pass
    except NotDecidableError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_permitted")
@pytest.mark.parametrize("calls", [0, 1, 100])
def test_kernel_calls_counts_those_of_a_step(calls):
    def step() -> None:
        for _ in range(calls):
            os.getppid()

    assert kernel_calls.calls_of(step) == calls


@pytest.fixture
def _refused(monkeypatch):
    def refuse(trace_point, pids):
        raise NotCountableError("perf_event_open: Permission denied")

    monkeypatch.setattr(kernel_calls, "read_trace_point", lambda: 1)
    monkeypatch.setattr(kernel_calls, "SystemCallCounter", refuse)


@pytest.mark.usefixtures("_refused")
@pytest.mark.parametrize("name", BY_COUNTING)
def test_claims_about_calls_are_not_decided_where_nobody_counts(name):
    finding = find(CLAIMS[name].experiment, SCALES["smallest"])
    assert finding.verdict == UNDECIDED
    assert "cannot be counted here: perf_event_open: Permission denied" in finding.number


@pytest.mark.usefixtures("_refused")
def test_switches_that_slept_are_in_no_user_space_though_nobody_counts_calls(monkeypatch):
    monkeypatch.setattr("headrace.claims.coroutines.sleeps_of", lambda work: 7)
    finding = find(CLAIMS["switch-in-user-space"].experiment, SCALES["smallest"])
    assert finding.verdict == "refuted"
