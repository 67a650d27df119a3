"""Which of many events that are alike are told: the first at once, the others by their number.

Whoever is refused can come again a thousand times a second.  A line for each would fill the disk,
cost more than the refusal itself, and hide what else the log says.  So of events that are alike the
first few are told at once, and from then on there is one line in `REPEAT_S` seconds, which says how
many it stands for.

The memory is bounded: where more than `KINDS_MAX` kinds are kept, all further addresses are one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headrace.serve.gate import address_key

__all__ = ["CHARACTERS_MAX", "KINDS_MAX", "MANY", "REPEAT_S", "Repeats", "Told"]

REPEAT_S = 10.0
KINDS_MAX = 1024
"""Event, status and address; kept for `REPEAT_S` after the latest line."""
CHARACTERS_MAX = 512
"""Of a value, for one of each kind is kept."""
MANY = "many"
"""In place of an address, where there are too many."""


class Told(NamedTuple):
    """A line to be written, and for how many events it stands."""

    name: str
    fields: dict[str, object]
    events: int


class _Kind:
    """Events that are alike: of one address and, where there is one, with one status."""

    __slots__ = ("count", "fields", "lines_left", "since_s")

    def __init__(self, since_s: float, lines_left: int) -> None:
        self.since_s = since_s
        self.lines_left = lines_left  # that may still be told at once
        self.count = 0  # not told yet
        self.fields: dict[str, object] = {}  # of the latest that is not told yet


class Repeats:
    """For one process; not for two threads at once.

    Args:
        now_s: seconds that never go back.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kinds: dict[tuple[str, str, object], _Kind] = {}

    def __repr__(self) -> str:
        return f"<Repeats kinds={len(self._kinds)}>"

    def note(self, name: str, fields: dict[str, object], at_once: int) -> Told | None:
        """An event: the line that is to be written now, if any.

        *fields* have an ``address``, and perhaps a ``status``; *at_once* are told one by one.
        """
        now_s = self._now_s()
        fields = {
            key: value[:CHARACTERS_MAX] if isinstance(value, str) else value
            for key, value in fields.items()
        }
        status = fields.get("status")
        key = (name, address_key(str(fields["address"])), status)
        kind = self._kinds.get(key)
        if kind is None and len(self._kinds) >= KINDS_MAX:
            fields["address"] = MANY
            key = (name, MANY, status)
            kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(now_s, at_once)
        elif now_s - kind.since_s >= REPEAT_S:
            kind.since_s = now_s
            # Who did not keep within it has used it up, until there is silence.
            kind.lines_left = 1 if kind.count else at_once
        kind.count += 1
        kind.fields = fields
        if not kind.lines_left:
            return None
        kind.lines_left -= 1
        return self._tell(name, kind)

    def due(self, *, everything: bool = False) -> Iterator[Told]:
        """The lines that are to be written by now though nothing new has come; ask now and then."""
        now_s = self._now_s()
        for key, kind in list(self._kinds.items()):
            if not everything and now_s - kind.since_s < REPEAT_S:
                continue
            if kind.count:
                kind.since_s, kind.lines_left = now_s, 0
                yield self._tell(key[0], kind)
            else:
                del self._kinds[key]

    def _tell(self, name: str, kind: _Kind) -> Told:
        count, kind.count = kind.count, 0
        fields, kind.fields = kind.fields, {}
        return Told(name, fields, count)
