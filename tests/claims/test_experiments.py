"""Every experiment once, in its smallest form: it runs, and says what a count must say."""

import os
import re
from collections import Counter

import pytest

from headrace.claims.catalogue import CLAIMS, THEMES, UnknownClaimError, choose
from headrace.claims.claim import (
    DEPENDS,
    FAILED,
    HOLDS,
    NOTES,
    REFUTED,
    SCALES,
    UNDECIDED,
    VERDICTS,
)
from headrace.claims.run import run_claim
from headrace.lab.usage import children

# Those that are decided by a count or by what a call answers: these verdicts are no measurement.
COUNTED = {
    "multiplexing-blocks-in-wait": HOLDS,
    "nonblocking-error": HOLDS,
    "send-when-full": HOLDS,
    "accept-like-input": HOLDS,
    "sockets-block-by-default": HOLDS,
    "epoll-limit": HOLDS,
    "poll-copies-always": HOLDS,
    "epoll-copies-once": HOLDS,
    "epoll-mmap": REFUTED,
    "epoll-saves-copying": REFUTED,
    "select-overwrites": HOLDS,
    "poll-keeps-set": HOLDS,
    "select-tells-which": DEPENDS,
    "epoll-names-ready": HOLDS,
    "regular-files": HOLDS,
    "edge-once": HOLDS,
    "level-until-drained": HOLDS,
    "epoll-two-events": REFUTED,
    "eagain": DEPENDS,
    "select-signals": REFUTED,
    "order-is-certain": DEPENDS,
    "await-rules": HOLDS,
    "calling-runs-nothing": HOLDS,
    "timer-makes-future": DEPENDS,
    "only-timers-and-network": REFUTED,
    "loop-is-pluggable": HOLDS,
}
# These need a C library, a package, a limit of open files or a permission to count calls that is
# not everywhere.
COUNTED_IF_POSSIBLE = {
    "edge-faster": DEPENDS,
    "select-two-calls": DEPENDS,
    "select-wins-active": DEPENDS,
    "switch-in-user-space": HOLDS,
    "select-limit": HOLDS,
    "poll-unlimited": DEPENDS,
    "aio-by-kernel": REFUTED,
    "aio-process-never-blocked": DEPENDS,
    "aio-signal-by-kernel": REFUTED,
    "aio-handed-to-kernel": REFUTED,
    "aiohttp-stops-none": HOLDS,
    "one-thread-thousands": HOLDS,
    "c10k": HOLDS,
}


@pytest.mark.parametrize("name", CLAIMS)
def test_experiment_runs_and_leaves_nothing(name):
    descriptors, processes = sorted(os.listdir("/proc/self/fd")), children(os.getpid())
    result = run_claim(CLAIMS[name], SCALES["smallest"])
    finding = result.finding
    assert finding.verdict in VERDICTS
    assert finding.verdict != FAILED, finding.number
    assert finding.number
    if name in COUNTED:
        assert finding.verdict == COUNTED[name], finding.number
    if name in COUNTED_IF_POSSIBLE:
        assert finding.verdict in (COUNTED_IF_POSSIBLE[name], UNDECIDED), finding.number
    assert sorted(os.listdir("/proc/self/fd")) == descriptors
    assert children(os.getpid()) == processes


def test_catalogue_has_what_the_tests_name():
    assert set(COUNTED) | set(COUNTED_IF_POSSIBLE) <= set(CLAIMS)
    assert len(CLAIMS) >= 25


def test_catalogue_names_are_unique_over_all_themes():
    assert len(CLAIMS) == sum(
        len([one for one in vars(theme).values() if type(one).__name__ == "Claim"])
        for theme in THEMES
    )
    assert max(Counter(one.sentence for one in CLAIMS.values()).values()) == 1


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_claim_says_what_it_tests_and_where_it_stands(claim):
    assert re.fullmatch(r"[a-z][a-z0-9-]*", claim.name)
    assert claim.notes
    assert set(claim.notes) <= set(NOTES)
    assert re.search(r"[\u4e00-\u9fff]", claim.sentence)
    assert claim.english.isascii()
    assert claim.reading.rstrip(")").endswith(".")
    assert claim.group


def test_choose_keeps_the_order_of_the_catalogue_and_takes_each_once():
    chosen = choose(("epoll-mmap", "blocking-both-phases", "epoll-mmap"))
    assert [one.name for one in chosen] == ["blocking-both-phases", "epoll-mmap"]


def test_choose_names_what_is_unknown_and_what_is_known():
    with pytest.raises(UnknownClaimError, match=r"unknown claim 'x'.*headrace claims --list"):
        choose(("epoll-flat", "x"))
