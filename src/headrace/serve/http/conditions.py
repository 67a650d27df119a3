"""Preconditions: If-Match and its kin, in the order of RFC 9110 section 13.2.2; and HTTP's dates.

Nothing here reads a clock: who asks tells the time, where it matters.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping

# In this order section 13.2.2 has them looked at.
FIELDS = (b"if-match", b"if-unmodified-since", b"if-none-match", b"if-modified-since")

NOT_MODIFIED = 304
PRECONDITION_FAILED = 412

# RFC 9110 section 8.8.2.2: a Last-Modified is a strong validator if it is at least a second older
# than the answer that carried it: nothing else can have been sent in the same second before it.
STRONG_AGE_S_MIN = 1

TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
MONTHS = tuple(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# RFC 9110 section 5.6.7: a recipient must accept all three.
DATES = (
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) (?P<month>[A-Z][a-z]{2}) "
        rb"(?P<year>\d{4}) " + TIME + rb" GMT"
    ),
    re.compile(
        rb"[A-Z][a-z]{2,5}day, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{2})-(?P<year>\d\d) "
        + TIME
        + rb" GMT"
    ),
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) "
        + TIME
        + rb" (?P<year>\d{4})"
    ),
)
# Years of two digits: as in POSIX, 69 to 99 are of the twentieth century.  RFC 9110 would have the
# clock decide ("more than 50 years in the future"); until 2050 that is nearly the same.
CENTURY_TURN = 69


def evaluate(
    method: bytes, fields: Mapping[bytes, bytes], tag: bytes | None, modified_s: int | None
) -> int | None:
    """NOT_MODIFIED, PRECONDITION_FAILED, or None: go on.

    *tag* and *modified_s* are those of what is there now; None if nothing is.
    """
    reading = method in (b"GET", b"HEAD")
    # Steps 1 and 2.
    if b"if-match" in fields:
        if not matches(fields[b"if-match"], tag, strong=True):
            return PRECONDITION_FAILED
    elif b"if-unmodified-since" in fields and modified_s is not None:
        since = parse_date(fields[b"if-unmodified-since"])
        if since is not None and modified_s > since:
            return PRECONDITION_FAILED
    # Steps 3 and 4.
    if b"if-none-match" in fields:
        if matches(fields[b"if-none-match"], tag, strong=False):
            return NOT_MODIFIED if reading else PRECONDITION_FAILED
    elif reading and b"if-modified-since" in fields and modified_s is not None:
        since = parse_date(fields[b"if-modified-since"])
        if since is not None and modified_s <= since:
            return NOT_MODIFIED
    return None


def range_applies(fields: Mapping[bytes, bytes], tag: bytes, modified_s: int, now_s: float) -> bool:
    """Step 5: does If-Range, if it is there, let Range count?  (RFC 9110 section 13.1.5.)"""
    value = fields.get(b"if-range")
    if value is None:
        return True
    if TAG.fullmatch(value):
        return value == tag and not tag.startswith(b"W/")
    since = parse_date(value)
    return since is not None and since == modified_s and now_s - modified_s >= STRONG_AGE_S_MIN


def matches(field: bytes, tag: bytes | None, *, strong: bool) -> bool:
    """Is *tag* one of those that If-Match or If-None-Match names?  "*" is any that exists."""
    if tag is None:
        return False
    if field.strip() == b"*":
        return True
    if strong and tag.startswith(b"W/"):
        return False
    opaque = tag.removeprefix(b"W/")
    return any(found[2] == opaque and not (strong and found[1]) for found in TAG.finditer(field))


def parse_date(value: bytes) -> int | None:
    """Seconds since 1970 of an HTTP date in any of its three forms; None if it is none."""
    for form in DATES:
        match = form.fullmatch(value.strip())
        if match is not None:
            return _seconds(match)
    return None


def _seconds(match: re.Match[bytes]) -> int | None:
    if match["month"] not in MONTHS:
        return None
    month = MONTHS.index(match["month"]) + 1
    year, day = int(match["year"]), int(match["day"])
    if len(match["year"]) == 2:
        year += 1900 if year >= CENTURY_TURN else 2000
    hour, minute, second = (int(match[name]) for name in ("hour", "minute", "second"))
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def format_date(seconds: float) -> bytes:
    """An HTTP date, in the form that is to be sent, whatever the locale says."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        DAYS[weekday], day, MONTHS[month - 1], year, hour, minute, second
    )  # fmt: skip
