"""Measuring so that a noisy machine blurs a number instead of bending it.

Time is CPU time of the calling thread wherever the thread's own work is the question: what other
programs take of the machine is then not in it. What is compared is measured in turns, and the
ratio is taken turn by turn, so that a machine that slows down slows both.
"""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

CONFIDENCE = 0.95
CALLS_MAX = 1 << 20
WARM_CALLS = 3
Key = TypeVar("Key")


@dataclass(frozen=True)
class Interval:
    """A median, and the bounds that it lies between with some certainty."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Slope:
    """The exponent of growth: 1 is proportional, 0 is constant."""

    value: float
    error: float | None
    """One standard error; None where it is not known: two points lie on a line always."""

    def __str__(self) -> str:
        # Rounded first: a flat line would be "-0.00" half of the time.
        value = f"{round(self.value, 2) + 0.0:.2f}"
        return (
            f"{value} (of two points)" if self.error is None else f"{value} ± {2 * self.error:.2f}"
        )

    def figures(self) -> dict[str, float]:
        """What is known of it, by name."""
        known = {} if self.error is None else {"exponent_error": self.error}
        return {"exponent": self.value} | known


def cpu_ns(call: Callable[[], object], count: int) -> float:
    """CPU time of the calling thread for one of so many calls."""
    numbers = range(count)
    start = time.thread_time_ns()
    for _ in numbers:
        call()
    return (time.thread_time_ns() - start) / count


def calls_for(call: Callable[[], object], batch_s: float) -> int:
    """How many calls take at least so much CPU time; found by doubling, which warms up as well."""
    count = 4
    while cpu_ns(call, count) * count < batch_s * 1e9 / 2 and count < CALLS_MAX:
        count *= 2
    return count


def interleaved(samples: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, list[float]]:
    """Takes one sample of each in each round."""
    found: dict[Key, list[float]] = {key: [] for key in samples}
    for _ in range(rounds):
        for key, sample in samples.items():
            found[key].append(sample())
    return found


def costs_ns(
    calls: Mapping[Key, Callable[[], object]], rounds: int, batch_s: float
) -> dict[Key, list[float]]:
    """What one call costs, in CPU time, once for each round."""

    def sampler(call: Callable[[], object]) -> Callable[[], float]:
        count = calls_for(call, batch_s)

        def sample() -> float:
            # Whoever had the core before has left the caches cold: the first of two that look at
            # the same sockets would pay for both, on a busy machine in each round.
            for _ in range(WARM_CALLS):
                call()
            return cpu_ns(call, count)

        return sample

    return interleaved({key: sampler(call) for key, call in calls.items()}, rounds)


def rank(count: int) -> int:
    """How many samples at each end may be left out for the bounds of the median.

    The median of what is measured lies outside the k-th sample from either end as often as a coin
    falls fewer than k times on one side in so many throws.
    """
    outside, left_out = 0.0, 0
    for k in range(count // 2):
        outside += 2 * math.comb(count, k) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        left_out = k
    return left_out


def interval(samples: Sequence[float]) -> Interval:
    """The median and its bounds; with few samples these are the least and the greatest."""
    ordered = sorted(samples)
    cut = rank(len(ordered))
    return Interval(ordered[cut], statistics.median(ordered), ordered[-1 - cut])


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """How many times the second the first is, for each round."""
    return [a / b for a, b in zip(first, second, strict=True)]


def ratio(first: Sequence[float], second: Sequence[float]) -> Interval:
    """How many times the second the first is, round by round."""
    return interval(ratios(first, second))


def log_slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The straight line through the points' logarithms, by least squares; two points at least."""
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(y) for _, y in points]
    middle_x, middle_y = statistics.fmean(xs), statistics.fmean(ys)
    width = sum((x - middle_x) ** 2 for x in xs)
    value = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / width
    rest = sum((y - middle_y - value * (x - middle_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    error = math.sqrt(rest / (len(points) - 2) / width) if len(points) > 2 else None
    return Slope(value, error)


def medians(samples: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    return {key: statistics.median(values) for key, values in samples.items()}


def voluntary_switches() -> int:
    """How often the calling thread has given its core away to wait: a count, whatever the load."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def wanted_core_ns() -> int:
    """How long the calling thread has run, or was ready to while others had its core."""
    with open("/proc/thread-self/schedstat") as file:
        running, ready, _ = file.read().split()
    return int(running) + int(ready)


def resident_bytes(pid: int | str = "self", field: str = "Private_Dirty") -> int:
    """Memory that is this process's alone; what it shares with its parent is not in it."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        line = next(line for line in file if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
