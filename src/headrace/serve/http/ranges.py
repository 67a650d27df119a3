"""Byte ranges: what a Range field asks of a file of so many bytes (RFC 9110 section 14).

Decisions.  A field that is malformed, or in a unit that is not ours, is as good as absent: the
whole file answers it (section 14.2, "A server MAY ignore the Range header field").  So is one of
too many ranges, which is how servers were once brought down: a short request for a long answer.
Ranges that overlap, or lie so close that the head of a part between them would be longer than the
bytes it saves, become one; a client that asks for a file ten times in one request gets it once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

RANGES_MAX = 64
# About what the boundary, Content-Type and Content-Range of one more part cost.
GAP_BYTES_MAX = 100
# More digits than any file's size has: no number is read that takes long to read.
DIGITS_MAX = 19

SPEC = re.compile(rb"([0-9]*)-([0-9]*)")


class Span(NamedTuple):
    """So many bytes of a file, from an offset on; never none."""

    offset: int
    length_bytes: int


class Unsatisfiable(ValueError):
    """No range begins inside the file: the answer is 416, with `Content-Range: bytes */SIZE`."""


def parse(field: bytes, size_bytes: int) -> list[Span] | None:
    """The spans of a file that *field*, the value of Range, asks for; None: the whole file.

    In the order asked for, unless some had to be joined: then ascending.

    Raises Unsatisfiable.
    """
    unit, equals, specs = field.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes":
        return None
    pieces = [piece.strip(b" \t") for piece in specs.split(b",", RANGES_MAX * 2)]
    # RFC 9110 section 5.6.1.2: empty elements of a list are to be ignored.
    wanted = [piece for piece in pieces if piece]
    if not wanted or len(wanted) > RANGES_MAX or len(pieces) > RANGES_MAX * 2:
        return None
    spans = []
    for piece in wanted:
        bounds = _bounds(piece)
        if bounds is None:
            return None
        spans.append(_within(*bounds, size_bytes))
    return _joined([span for span in spans if span is not None], size_bytes)


def content_range(span: Span, size_bytes: int) -> bytes:
    """The value of Content-Range for one part (RFC 9110 section 14.4)."""
    last = span.offset + span.length_bytes - 1
    return b"bytes %d-%d/%d" % (span.offset, last, size_bytes)


def _bounds(piece: bytes) -> tuple[int | None, int | None] | None:
    """First and last position as written, None where there is none; None if this is no range."""
    match = SPEC.fullmatch(piece)
    if match is None or piece == b"-":
        return None
    first, last = (_number(digits) for digits in match.groups())
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _number(digits: bytes) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= DIGITS_MAX else 10**DIGITS_MAX


def _within(first: int | None, last: int | None, size_bytes: int) -> Span | None:
    """The part of a range that the file has."""
    if first is None:
        # "-5", the last five bytes; of a shorter file, all.
        length = min(last or 0, size_bytes)
        return Span(size_bytes - length, length) if length else None
    if first >= size_bytes:
        return None
    end = size_bytes if last is None else min(last + 1, size_bytes)
    return Span(first, end - first)


def _joined(spans: list[Span], size_bytes: int) -> list[Span] | None:
    if not spans:
        raise Unsatisfiable(f"no range begins within {size_bytes} bytes")
    joined: list[Span] = []
    for span in sorted(spans):
        before = joined[-1] if joined else None
        if before and span.offset <= before.offset + before.length_bytes + GAP_BYTES_MAX:
            end = max(before.offset + before.length_bytes, span.offset + span.length_bytes)
            joined[-1] = Span(before.offset, end - before.offset)
        else:
            joined.append(span)
    return spans if len(joined) == len(spans) else joined


def total_bytes(spans: Sequence[Span]) -> int:
    return sum(span.length_bytes for span in spans)
