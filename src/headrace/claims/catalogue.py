"""All claims, in the order in which they are shown, and by name."""

from __future__ import annotations

import difflib
from dataclasses import replace
from types import ModuleType

from headrace.claims import (
    asynchronous,
    coroutines,
    event_loop,
    limits,
    many,
    notifications,
    phases,
    scanning,
    servers,
    sets,
    waiting,
    workers,
)
from headrace.claims.claim import Claim

THEMES = (
    phases, waiting, asynchronous, scanning, limits, sets, notifications, servers, many, workers,
    coroutines, event_loop,
)  # fmt: skip
LIKE_MAX = 4
SHOW_ALL = "headrace claims --list shows all"


class UnknownClaimError(ValueError):
    """No claim has this name; the message names those that are like it, and how to see all."""


def of_theme(theme: ModuleType) -> list[Claim]:
    """The claims of one file, in its order, with its group."""
    found = [value for value in vars(theme).values() if isinstance(value, Claim)]
    return [replace(one, group=theme.GROUP) for one in found]


CLAIMS = {one.name: one for theme in THEMES for one in of_theme(theme)}


def choose(names: tuple[str, ...] | None) -> list[Claim]:
    """The claims of these names, each once, in the catalogue's order; all if none is named.

    Raises:
        UnknownClaimError: with one line that names the first unknown one, and those like it.
    """
    for name in names or ():
        if name not in CLAIMS:
            raise UnknownClaimError(f"unknown claim {name!r};{like(name)} {SHOW_ALL}")
    return [one for one in CLAIMS.values() if names is None or one.name in names]


def like(name: str) -> str:
    """The known names that may have been meant: the close ones, and those that it is a part of."""
    close = difflib.get_close_matches(name, CLAIMS)
    parts = [known for known in CLAIMS if name in known and known not in close]
    found = [*close, *parts][:LIKE_MAX]
    return f" did you mean {' or '.join(found)}?" if found else ""
