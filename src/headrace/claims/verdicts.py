"""How a measurement becomes a verdict: by bounds with a dead zone, never by a guess.

A number that lies too near a bound for its own uncertainty is ``not decidable here``. The bounds
are far from what machines show, so that the same machine says the same twice. Counts need none of
this: they come before times wherever a count can decide.
"""

from __future__ import annotations

from headrace.claims.claim import DEPENDS, HOLDS, REFUTED, UNDECIDED
from headrace.claims.measure import Interval, Slope

GROWS = 0.5
"""From this exponent on something grows with n: costs that do not lower it at the small end."""
FLAT = 0.3
"""Below this exponent something does not grow with n; log n over our range is about 0.1 to 0.2."""
DEAD_ZONE = 1.15
"""A ratio closer to its bound than this factor decides nothing."""


def counted(is_so: bool) -> str:
    """A count, or what a call answered: it is so or it is not."""
    return HOLDS if is_so else REFUTED


def grows(slope: Slope) -> str:
    """That the cost grows with n."""
    return _between(slope, above=HOLDS, below=REFUTED)


def is_flat(slope: Slope) -> str:
    """That the cost does not grow with n, or as slowly as log n."""
    return _between(slope, above=REFUTED, below=HOLDS)


def _between(slope: Slope, *, above: str, below: str) -> str:
    if slope.error is None:
        return UNDECIDED
    # Not a number compares as False each time: undecided.
    if slope.value - 2 * slope.error > GROWS:
        return above
    if slope.value + 2 * slope.error < FLAT:
        return below
    return UNDECIDED


def share_above(share: float, much: float, little: float) -> str:
    """That a share is large: it is not decided between little and much."""
    if share > much:
        return HOLDS
    return REFUTED if share < little else UNDECIDED


def share_below(share: float, much: float, little: float) -> str:
    """That a share is small."""
    return opposite(share_above(share, much, little))


def opposite(verdict: str) -> str:
    return {HOLDS: REFUTED, REFUTED: HOLDS}.get(verdict, verdict)


def at_least(ratio: Interval, bound: float) -> str:
    """That one is at least so many times the other."""
    if ratio.low > bound * DEAD_ZONE:
        return HOLDS
    if ratio.high < bound / DEAD_ZONE:
        return REFUTED
    return UNDECIDED


def at_most(ratio: Interval, bound: float) -> str:
    """That one is at most so many times the other."""
    return opposite(at_least(ratio, bound))


def is_alike(ratio: Interval, bound: float) -> str:
    """That neither is clearly better: the ratio stays below the bound in both directions."""
    if at_least(ratio, bound) == HOLDS or at_most(ratio, 1 / bound) == HOLDS:
        return REFUTED
    within = 1 / (bound * DEAD_ZONE) < ratio.low and ratio.high < bound * DEAD_ZONE
    return HOLDS if within else UNDECIDED


def all_of(*verdicts: str) -> str:
    """A sentence of several parts: it holds or fails as a whole, or depends on the part."""
    if UNDECIDED in verdicts:
        return UNDECIDED
    return verdicts[0] if len(set(verdicts)) == 1 else DEPENDS
