"""A claim's process: what it says, and what is said of one that fails or takes too long."""

import json
import os
from dataclasses import replace

import pytest

from headrace.claims import worker
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import FAILED, HOLDS, SCALES, UNDECIDED, Curve, Finding
from headrace.claims.run import Result, finding_of, run_claim
from headrace.claims.sources import NotDecidableError, expect
from headrace.lab.usage import children

QUICK = SCALES["quick"]
EPOLL_MMAP = CLAIMS["epoll-mmap"]


def raises(error):
    def experiment(scale):
        raise error

    return experiment


def told(capsys, monkeypatch, experiment):
    """What a worker says of this experiment."""
    monkeypatch.setitem(worker.CLAIMS, "one", replace(EPOLL_MMAP, experiment=experiment))
    assert worker.main(["one", "smallest"]) == 0
    return json.loads(capsys.readouterr().out)


def test_worker_says_what_was_found(capsys, monkeypatch):
    curve = Curve("x", "y", {"line": [(1.0, 2.0)]})
    finding = Finding(HOLDS, "7 bytes", {"bytes": 7}, curve)
    assert told(capsys, monkeypatch, lambda scale: finding) == {
        "verdict": "holds", "number": "7 bytes", "figures": {"bytes": 7},
        "curve": {"x": "x", "y": "y", "lines": {"line": [[1.0, 2.0]]}},
    }  # fmt: skip


def test_worker_says_what_this_machine_does_not_allow(capsys, monkeypatch):
    found = told(capsys, monkeypatch, raises(NotDecidableError("needs 10,000 descriptors")))
    assert (found["verdict"], found["number"]) == (UNDECIDED, "needs 10,000 descriptors")


def test_worker_says_what_this_kernel_does_not_have(capsys, monkeypatch):
    missing = FileNotFoundError(2, "No such file or directory", "/proc/thread-self/schedstat")
    found = told(capsys, monkeypatch, raises(missing))
    assert found["verdict"] == UNDECIDED
    assert found["number"] == "this kernel has no /proc/thread-self/schedstat"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(24, "Too many open files"), "OSError: [Errno 24] Too many open files"),
        (ValueError("one\ntwo"), "ValueError: one"),
        (KeyError(), "KeyError"),
    ],
)
def test_worker_says_in_one_line_how_an_experiment_failed(capsys, monkeypatch, error, line):
    found = told(capsys, monkeypatch, raises(error))
    assert (found["verdict"], found["number"]) == (FAILED, line)


def test_expect_fails_an_experiment_whose_set_up_does_not_work():
    expect(1, 1)
    with pytest.raises(RuntimeError, match="gave 0 instead of 1"):
        expect(0, 1)


def test_run_claim_reports_a_worker_that_died():
    result = run_claim(replace(EPOLL_MMAP, name="unheard-of"), QUICK)
    assert result.finding.verdict == FAILED
    assert "KeyError: 'unheard-of'" in result.finding.number
    assert "\n" not in result.finding.number


def test_run_claim_ends_one_that_takes_too_long():
    before = children(os.getpid())
    result = run_claim(CLAIMS["nap-delays"], replace(QUICK, limit_s=0.01))
    assert (result.finding.verdict, result.finding.number) == (
        FAILED, "it took longer than 0.01 s and was ended",
    )  # fmt: skip
    assert children(os.getpid()) == before


@pytest.mark.parametrize("answer", [b"", b"{", b'{"verdict": "ho'])
def test_finding_of_half_an_answer_is_none(answer):
    assert finding_of(answer) is None


def test_result_is_plain_data():
    curve = Curve("x", "y", {"line": [(1.0, 2.0)]})
    written = Result(EPOLL_MMAP, Finding(HOLDS, "1", {"a": 1}, curve), 0.126).as_dict()
    assert json.loads(json.dumps(written)) == written
    assert written["seconds"] == 0.13
    assert written["notes"][0] == {"number": 1, "title": "什么是IO多路复用"}
    assert written["curve"]["lines"] == {"line": [[1.0, 2.0]]}
