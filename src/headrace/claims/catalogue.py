"""All claims, in the order in which they are shown, and by name."""

from __future__ import annotations

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


class UnknownClaimError(ValueError):
    """No claim has this name; the message lists those that there are."""


def of_theme(theme: ModuleType) -> list[Claim]:
    """The claims of one file, in its order, with its group."""
    found = [value for value in vars(theme).values() if isinstance(value, Claim)]
    return [replace(one, group=theme.GROUP) for one in found]


CLAIMS = {one.name: one for theme in THEMES for one in of_theme(theme)}


def choose(names: tuple[str, ...] | None) -> list[Claim]:
    """The claims of these names, each once, in the catalogue's order; all if none is named.

    Raises:
        UnknownClaimError: with one line that names the first unknown one and lists the known.
    """
    for name in names or ():
        if name not in CLAIMS:
            raise UnknownClaimError(f"unknown claim {name!r}; known: {', '.join(CLAIMS)}")
    return [one for one in CLAIMS.values() if names is None or one.name in names]
