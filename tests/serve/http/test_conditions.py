"""Preconditions: the order of RFC 9110 section 13.2.2, its comparisons, and its dates."""

from __future__ import annotations

import pytest

from headrace.serve.http.conditions import evaluate, format_date, parse_date, range_applies

TAG = b'"a-1"'
MODIFIED_S = 784_111_777
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("GET", {}, None),
        # Step 1.
        ("GET", {"if-match": TAG}, None),
        ("GET", {"if-match": b'"b", "a-1"'}, None),
        ("GET", {"if-match": b"*"}, None),
        ("GET", {"if-match": b'"b"'}, 412),
        ("GET", {"if-match": b'W/"a-1"'}, 412),
        ("GET", {"if-match": b"a-1"}, 412),
        ("GET", {"if-match": b'"b"', "if-none-match": TAG}, 412),
        # Step 2, only without If-Match.
        ("GET", {"if-unmodified-since": DATE}, None),
        ("GET", {"if-unmodified-since": AFTER}, None),
        ("GET", {"if-unmodified-since": BEFORE}, 412),
        ("GET", {"if-unmodified-since": b"yesterday"}, None),
        ("GET", {"if-match": TAG, "if-unmodified-since": BEFORE}, None),
        # Step 3.
        ("GET", {"if-none-match": TAG}, 304),
        ("HEAD", {"if-none-match": TAG}, 304),
        ("PUT", {"if-none-match": TAG}, 412),
        ("PUT", {"if-none-match": b"*"}, 412),
        ("GET", {"if-none-match": b'W/"a-1"'}, 304),
        ("GET", {"if-none-match": b'"b", W/"a-1"'}, 304),
        ("GET", {"if-none-match": b'"b"'}, None),
        ("GET", {"if-none-match": b"*"}, 304),
        ("GET", {"if-none-match": b'"b"', "if-modified-since": DATE}, None),
        # Step 4, only without If-None-Match, and for reading only.
        ("GET", {"if-modified-since": DATE}, 304),
        ("GET", {"if-modified-since": AFTER}, 304),
        ("GET", {"if-modified-since": BEFORE}, None),
        ("GET", {"if-modified-since": b"Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ("GET", {"if-modified-since": b"Sun Nov  6 08:49:37 1994"}, 304),
        ("GET", {"if-modified-since": b"0"}, None),
        ("PUT", {"if-modified-since": DATE}, None),
    ],
)
def test_conditions_hold_or_not(method, fields, status):
    read = {name.encode(): value for name, value in fields.items()}
    assert evaluate(method.encode(), read, TAG, MODIFIED_S) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if-match": b"*"}, 412),
        ({"if-match": TAG}, 412),
        ({"if-none-match": b"*"}, None),
        ({"if-none-match": TAG}, None),
        ({"if-unmodified-since": BEFORE}, None),
    ],
)
def test_conditions_on_what_is_not_there(fields, status):
    read = {name.encode(): value for name, value in fields.items()}
    assert evaluate(b"PUT", read, None, None) == status


@pytest.mark.parametrize(
    ("value", "now_s", "applies"),
    [
        (None, MODIFIED_S + 100, True),
        (TAG, MODIFIED_S, True),
        (b'"b"', MODIFIED_S, False),
        (b'W/"a-1"', MODIFIED_S, False),
        (DATE, MODIFIED_S + 100, True),
        (DATE, MODIFIED_S + 0.5, False),  # no strong validator yet
        (BEFORE, MODIFIED_S + 100, False),
        (AFTER, MODIFIED_S + 100, False),
        (b"nonsense", MODIFIED_S + 100, False),
    ],
)
def test_range_counts_if_the_client_has_the_same(value, now_s, applies):
    fields = {} if value is None else {b"if-range": value}
    assert range_applies(fields, TAG, MODIFIED_S, now_s) is applies


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (DATE, MODIFIED_S),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED_S),
        (b"Sun Nov  6 08:49:37 1994", MODIFIED_S),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Sat, 29 Feb 2020 23:59:60 GMT", 1_583_020_800),
        (b"Fri, 01-Jan-68 00:00:00 GMT", None),
        (b"Friday, 01-Jan-27 00:00:00 GMT", 1_798_761_600),
        (b"Sun, 30 Feb 2020 00:00:00 GMT", None),
        (b"Sun, 06 Nov 1994 24:00:00 GMT", None),
        (b"Sun, 06 Nov 1994 08:49:37 CET", None),
        (b"Sun, 06 Nov 1994 08:49:37", None),
        (b"Sun, 06 Foo 1994 08:49:37 GMT", None),
        (b"Sun, 00 Nov 0000 08:49:37 GMT", None),
        (b"", None),
    ],
)
def test_dates_are_read_in_all_three_forms(text, seconds):
    assert parse_date(text) == seconds


def test_dates_are_written():
    assert format_date(MODIFIED_S) == DATE
