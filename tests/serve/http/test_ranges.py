"""Ranges as RFC 9110 section 14 has them, and the bounds we set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.http.ranges import (
    GAP_BYTES_MAX,
    RANGES_MAX,
    Span,
    Unsatisfiable,
    content_range,
    parse,
    total_bytes,
)  # fmt: skip

SIZE = 10_000


@pytest.mark.parametrize(
    ("field", "spans"),
    [
        # The examples of RFC 9110 section 14.1.2, of a file of 10,000 bytes.
        (b"bytes=0-499", [Span(0, 500)]),
        (b"bytes=500-999", [Span(500, 500)]),
        (b"bytes=-500", [Span(9500, 500)]),
        (b"bytes=9500-", [Span(9500, 500)]),
        (b"bytes=0-0,-1", [Span(0, 1), Span(9999, 1)]),
        (b"bytes= 0-999, 4500-5499, -1000", [Span(0, 1000), Span(4500, 1000), Span(9000, 1000)]),
        (b"bytes=500-600,601-999", [Span(500, 500)]),
        (b"bytes=500-700,601-999", [Span(500, 500)]),
        # Clamped to what there is.
        (b"bytes=9000-20000", [Span(9000, 1000)]),
        (b"bytes=-20000", [Span(0, SIZE)]),
        (b"bytes=5-" + b"9" * 100, [Span(5, SIZE - 5)]),
        (b"BYTES=0-0", [Span(0, 1)]),
        (b"bytes=,, 0-0 ,", [Span(0, 1)]),
        # One that cannot be satisfied beside one that can.
        (b"bytes=20000-,0-0", [Span(0, 1)]),
        (b"bytes=-0,0-0", [Span(0, 1)]),
        # In the order asked for.
        (b"bytes=5000-5000,0-0", [Span(5000, 1), Span(0, 1)]),
        # Joined: the same many times, and what lies close together.
        (b"bytes=" + b",".join([b"0-"] * 20), [Span(0, SIZE)]),
        (b"bytes=0-0,50-50", [Span(0, 51)]),
        (b"bytes=0-0,%d-%d" % (GAP_BYTES_MAX + 2, GAP_BYTES_MAX + 2), [Span(0, 1), Span(102, 1)]),
        # As good as absent.
        (b"bytes=", None),
        (b"bytes", None),
        (b"bytes=-", None),
        (b"bytes=5-4", None),
        (b"bytes=a-b", None),
        (b"bytes=1-2-3", None),
        (b"bytes=--1", None),
        (b"bytes=1", None),
        (b"bytes=0x1-2", None),
        (b"bytes=0-1;2-3", None),
        (b"items=0-5", None),
        (b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(0, SIZE, 150)), None),
        (b"bytes=" + b"," * 1000 + b"0-0", None),
    ],
)
def test_ranges_are_read(field, spans):
    assert parse(field, SIZE) == spans


@pytest.mark.parametrize("field", [b"bytes=10000-", b"bytes=10000-10001,20000-", b"bytes=-0"])
def test_ranges_beyond_the_end_cannot_be_satisfied(field):
    with pytest.raises(Unsatisfiable):
        parse(field, SIZE)


def test_ranges_are_told():
    assert content_range(Span(500, 500), SIZE) == b"bytes 500-999/10000"


def test_ranges_up_to_the_limit_are_served():
    field = b"bytes=" + b",".join(b"%d-%d" % (n * 150, n * 150) for n in range(RANGES_MAX))
    assert len(parse(field, 1_000_000)) == RANGES_MAX


spec = st.tuples(st.one_of(st.just(b""), st.integers(0, 12_000).map(b"%d".__mod__)),
                 st.one_of(st.just(b""), st.integers(0, 12_000).map(b"%d".__mod__)))  # fmt: skip


@given(st.lists(spec, min_size=1, max_size=70))
def test_ranges_never_ask_for_more_than_the_file(specs):
    field = b"bytes=" + b",".join(first + b"-" + last for first, last in specs)
    try:
        spans = parse(field, SIZE)
    except Unsatisfiable:
        return
    if spans is None:
        return
    assert 1 <= len(spans) <= RANGES_MAX
    assert total_bytes(spans) <= SIZE
    assert all(s.length_bytes > 0 and s.offset + s.length_bytes <= SIZE for s in spans)
