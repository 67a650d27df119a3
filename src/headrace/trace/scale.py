"""The time axis: waiting is a hundred times longer than copying, so the axis is broken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.trace.timeline import CALLS, TRIES, Lane, Span, Timeline

LEAD = 0.18
"""So much of what follows is shown to scale before the client sends."""
WAITING_SHARE = 0.2
"""So much of the width has what lies before."""
TAIL = 0.02
ANSWER_SHARE = 1.0
"""The answer is shown for so many times what phase 2 and the sending take; the rest is cut off."""
GATHERED_MIN = 4
"""So many calls before the break are drawn as one."""
STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Microseconds to positions from 0 to ``width``."""

    width: float
    knee: float
    """Up to here the axis is squeezed; 0 where it is not broken."""
    knee_at: float
    end: float

    def at(self, us: float) -> float:
        us = min(us, self.end)
        if us < self.knee:
            return us / self.knee * self.knee_at
        return self.knee_at + (us - self.knee) / (self.end - self.knee) * (
            self.width - self.knee_at
        )

    def shows(self, span: Span) -> bool:
        return span.start < self.end

    @property
    def is_broken(self) -> bool:
        return self.knee > 0

    def ticks(self, origin: float, count: int) -> Iterator[float]:
        """Round distances from *origin* on the part that is to scale, some *count* of them."""
        rough = (self.end - self.knee) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(one * power for one in STEPS if one * power >= rough)
        number = math.ceil((self.knee - origin) / step)
        while origin + number * step <= self.end:
            yield number * step
            number += 1


def shown_end(timeline: Timeline) -> float:
    """Where the picture ends: with the answer, unless that would leave no room for phase 2."""
    longest = timeline.told + ANSWER_SHARE * (timeline.told - timeline.sent)
    return min(timeline.end, longest)


def scale_of(timeline: Timeline, width: float) -> Scale:
    after = shown_end(timeline) - timeline.sent
    knee = timeline.sent - LEAD * after
    end = shown_end(timeline) + TAIL * after
    if knee < (end - knee) * WAITING_SHARE / (1 - WAITING_SHARE):
        return Scale(width, 0.0, 0.0, end)  # it fits as it is
    return Scale(width, knee, width * WAITING_SHARE, end)


def gathered(lane: Lane, scale: Scale) -> list[Span]:
    """The lane's spans within the picture, with the many short calls before the break as one."""
    shown = [span for span in lane.spans if scale.shows(span)]
    early = [span for span in shown if span.end < scale.knee and span.kind in (CALLS, TRIES)]
    if len(early) < GATHERED_MIN:
        return shown
    return [one_of(early), *(span for span in shown if span not in early)]


def one_of(spans: Sequence[Span]) -> Span:
    names = ", ".join(dict.fromkeys(span.name for span in spans))
    return Span(spans[0].start, spans[-1].end, TRIES, names, f"{len(spans):,} calls")
