"""Password hashes: what they say yes to, and what a file of users may not ask of the server."""

from __future__ import annotations

import hashlib

import pytest

from headrace.serve import passwords
from headrace.serve.passwords import BadHash, Cost, hash_password, impossible_hash, parse_hash

QUICK = Cost(n=16, r=1, p=1)


@pytest.mark.parametrize("password", ["x", "correct horse", "пароль", "\udcff\udc80", "a" * 1024])
def test_hash_matches_its_own_password_and_no_other(password):
    known = parse_hash(str(hash_password(password, QUICK)))
    assert known.matches(password)
    for other in ("", password + "x", password[:-1], password.swapcase() + "!"):
        assert not known.matches(other)


def test_two_hashes_of_one_password_differ():
    assert str(hash_password("same", QUICK)) != str(hash_password("same", QUICK))


def test_hash_is_the_standard_librarys_scrypt():
    known = hash_password("password", QUICK)
    assert known.key == hashlib.scrypt(b"password", salt=known.salt, n=16, r=1, p=1, dklen=32)


def test_default_cost_can_be_computed():
    assert hash_password("password").matches("password")


@pytest.mark.parametrize("password", ["", "a" * 1025, "é" * 513])
def test_password_that_is_empty_or_too_long_gets_no_hash(password):
    with pytest.raises(BadHash, match="1 to 1,024 bytes"):
        hash_password(password, QUICK)


def test_too_long_a_password_is_wrong_though_it_begins_as_the_right_one():
    known = hash_password("a" * 1024, QUICK)
    assert not known.matches("a" * 1025)
    assert not known.matches("a" * 10_000_000)


def test_impossible_hash_matches_nothing_and_differs_each_time():
    nobody = impossible_hash(QUICK)
    assert not nobody.matches("")
    assert nobody.key != impossible_hash(QUICK).key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "password",
        "$6$salt$hash",
        "scrypt$16$1$1$c2FsdHNhbHQ=",
        "scrypt$16$1$1$c2FsdHNhbHQ=$?",
        "scrypt$16$1$1$$",
        "scrypt$16$1$1$c2FsdHNhbHQ=$c2hvcnQ=",
        "scrypt$x$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$-16$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$17$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$1$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$16$0$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$1073741824$8$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",  # a terabyte
        "scrypt$16384$8$100000$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",  # a day
        "scrypt$²$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
        "scrypt$" + "9" * 5000 + "$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_hash_or_too_costly_is_refused_without_being_repeated(text):
    with pytest.raises(BadHash) as caught:
        parse_hash(text)
    assert not text or text not in str(caught.value)


def test_smallest_hash_that_is_allowed_is_read():
    assert parse_hash("scrypt$2$1$1$c2FsdHNhbHQ=$MDEyMzQ1Njc4OWFiY2RlZg==").cost == Cost(2, 1, 1)


def test_hash_shows_nothing_of_itself_in_a_traceback():
    known = hash_password("secret", QUICK)
    assert known.key.hex() not in repr(known)
    assert str(known).split("$")[5] not in repr(known)
    assert passwords.SCHEME in str(known)
