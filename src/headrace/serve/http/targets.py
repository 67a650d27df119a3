"""A request's target: which file is meant, and what its query asks.

Decisions.  Percent-decoding is done once (RFC 3986 section 2.4), and what cannot be decoded is
refused, not guessed.  An encoded slash (%2F) is part of a name, and no name has one: so there is no
such file, rather than another way to write a path.  A backslash is a character like any other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote_from_bytes, unquote_to_bytes

from headrace.serve import paths

MALFORMED_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
PARAMETERS_MAX = 16
# Targets that are asked for again and again are read once; longer ones are not kept.
CACHED_BYTES_MAX = 256
CACHED_MAX = 1024


class BadTarget(ValueError):
    """The request's target is malformed: 400, or names what cannot exist: 404."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Target(NamedTuple):
    path: str  # virtual
    is_folder: bool  # it ended in "/"
    query: bytes


def parse(target: bytes) -> Target:
    """Raises BadTarget."""
    return _parse_cached(target) if len(target) <= CACHED_BYTES_MAX else _parse(target)


def _parse(target: bytes) -> Target:
    raw, _, query = target.partition(b"?")
    if b"%" in raw:
        if MALFORMED_PERCENT.search(raw):
            raise BadTarget(400, "malformed percent-encoding")
        if b"%2f" in raw.lower():
            raise BadTarget(404, "no name has a slash in it")
        raw = unquote_to_bytes(raw)
    try:
        path = paths.resolve("/", paths.decode(raw))
    except paths.BadPath as error:
        raise BadTarget(400, str(error)) from None
    last = raw.rpartition(b"/")[2]
    return Target(path, last in (b"", b".", b".."), query)


_parse_cached = lru_cache(CACHED_MAX)(_parse)


def parameters(query: bytes) -> dict[str, str]:
    """The query's parameters, the last of each name; those that are malformed are left out."""
    try:
        pairs = parse_qsl(query.decode("ascii", "replace"), max_num_fields=PARAMETERS_MAX)
    except ValueError:
        return {}
    return dict(pairs)


def quoted(path: str) -> str:
    """A virtual path, or a name, as it stands in a URL."""
    return quote_from_bytes(paths.encode(path))
