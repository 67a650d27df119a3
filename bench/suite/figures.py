"""The arithmetic: medians, spreads, and ratios of what was measured in the same round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Figure = float | None


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    """Of all rounds."""
    lower_quartile: float
    upper_quartile: float
    count: int

    @property
    def share(self) -> float:
        """Half the distance of the quartiles, as a part of the median: how far to trust it."""
        if self.median == 0:
            return 0.0
        return (self.upper_quartile - self.lower_quartile) / 2 / abs(self.median)


def spread(values: Sequence[Figure]) -> Spread | None:
    """The median and what lies around it; None without a value."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    lower, upper = quartiles(known)
    return Spread(statistics.median(known), known[0], known[-1], lower, upper, len(known))


def quartiles(known: Sequence[float]) -> tuple[float, float]:
    """Of sorted values; of fewer than four, the lowest and the highest."""
    if len(known) < 4:
        return known[0], known[-1]
    lower, _, upper = statistics.quantiles(known, n=4, method="inclusive")
    return lower, upper


def ratio(above: Sequence[Figure], below: Sequence[Figure]) -> Spread | None:
    """One contender's figures over another's, round by round.

    A machine's speed drifts, and both were measured within seconds: so the ratio of a round says
    more than the ratio of two medians.
    """
    return spread(
        [
            left / right
            for left, right in zip(above, below, strict=False)
            if left is not None and right is not None and right > 0
        ]
    )
