"""What epoll and the system say when they take no more, and what that makes of the claim."""

import errno
import os
import select

import pytest

from headrace.claims import limits
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import HOLDS, REFUTED, SCALES, UNDECIDED
from headrace.claims.worker import find

TAKEN = 100


class Refusing:
    """epoll where the user's watches are used up."""

    def __init__(self, number: int) -> None:
        self.number, self.taken = number, 0

    def __enter__(self) -> "Refusing":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def register(self, fd: int, events: int) -> None:
        if self.taken == TAKEN:
            raise OSError(self.number, os.strerror(self.number))
        self.taken += 1


def finding():
    return find(CLAIMS["epoll-limit"].experiment, SCALES["smallest"])


def test_epoll_limit_is_that_of_open_files():
    found = finding()
    assert found.verdict == HOLDS
    assert found.number.endswith("then open files: Too many open files")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_epoll_that_refuses_to_watch_refutes_the_claim(monkeypatch, number):
    monkeypatch.setattr(select, "epoll", lambda: Refusing(number))
    found = finding()
    assert (found.verdict, found.figures["registered"]) == (REFUTED, TAKEN)
    assert found.number.endswith(f"then epoll_ctl: {os.strerror(number)}")


def test_epoll_limit_is_not_decided_where_the_whole_system_opens_no_more(monkeypatch):
    def refuse(fd):
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(limits.os, "dup", refuse)
    assert finding().verdict == UNDECIDED
