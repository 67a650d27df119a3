"""Phase two is measured against a copy, and a non-blocking read is one or is not measured."""

import errno
import os

import pytest

from headrace.claims import phases
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import DEPENDS, HOLDS, SCALES, UNDECIDED
from headrace.claims.worker import find

NEVER_ASLEEP = phases.Waited(sleeps=0, calls=1)
NOWAIT = ["nonblocking-second-phase", "signal-driven-synchronous"]


def finding(name):
    return find(CLAIMS[name].experiment, SCALES["smallest"])


@pytest.mark.parametrize("name", NOWAIT)
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EAGAIN])
def test_phase_two_is_not_decided_by_another_read_than_the_one_in_question(
    monkeypatch, name, number
):
    real = os.preadv

    def preadv(fd, buffers, offset, flags=0):
        if flags & os.RWF_NOWAIT:
            buffers.clear()  # a traceback would hold them, and C's has none
            raise OSError(number, os.strerror(number))
        return real(fd, buffers, offset, flags)

    monkeypatch.setattr(phases.os, "preadv", preadv)
    monkeypatch.setattr(phases, "waited", lambda scale, who: NEVER_ASLEEP)
    found = finding(name)
    assert (found.verdict, found.number) == (
        UNDECIDED, f"read with RWF_NOWAIT: {os.strerror(number)}",
    )  # fmt: skip


def test_phase_two_goes_on_where_a_read_was_short(monkeypatch):
    real, sizes = os.preadv, []

    def preadv(fd, buffers, offset, flags=0):
        sizes.append(real(fd, [buffers[0][: 2**20]], offset, flags))
        return sizes[-1]

    with phases.big_file(SCALES["smallest"]) as big:
        monkeypatch.setattr(phases.os, "preadv", preadv)
        phases.read_now(big.fd, big.memory, os.RWF_NOWAIT)
    assert sizes == [2**20] * (phases.SMALLEST_BIG_BYTES >> 20)


@pytest.mark.parametrize("name", ["blocking-both-phases", "only-aio-copies-not"])
def test_read_that_copies_nothing_in_our_thread_changes_the_verdict(monkeypatch, name):
    monkeypatch.setattr(phases, "waited", lambda scale, who: phases.Waited(sleeps=1, calls=1))
    assert finding(name).verdict == HOLDS
    monkeypatch.setattr(phases, "read_now", lambda fd, memory, flags: None)
    assert finding(name).verdict == DEPENDS
