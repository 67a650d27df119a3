"""What the load generator saw during one stretch of load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Window:
    """Requests, latencies and errors of one stretch, and how the generator itself fared.

    The last four figures tell whether the generator measured the server or itself.
    """

    seconds: float
    requests: int
    errors: dict[str, int] = field(default_factory=dict)
    latency_ns: tuple[tuple[int, int], ...] = ()
    """(latency in ns, how many), one pair for each bucket that is not empty."""
    bad_status: int = 0
    """The first HTTP status that was not 2xx, or 0."""
    reconnects: int = 0
    busy_share: float = 0.0
    """The part of the time in which the generator had something to do; 1.0 is an overload."""
    cpu_share: float = 1.0
    """The CPU time the generator got; below 1.0 somebody else used its core."""
    stall_ms_max: float = 0.0
    """The longest time between two looks at the sockets."""
    self_latency_share: float = 0.0
    """The part of the latencies in which the reply already waited for the generator."""

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())

    def with_errors_of(self, others: Iterable[Window]) -> Window:
        """The same figures, with the errors of other stretches, which come first."""
        parts = [*others, self]
        errors: Counter[str] = Counter()
        for part in parts:
            errors.update(part.errors)
        bad_status = next((part.bad_status for part in parts if part.bad_status), 0)
        return replace(self, errors=dict(errors), bad_status=bad_status)


def merge_windows(windows: Iterable[Window]) -> Window:
    """One window that stands for several, as if they had been one stretch."""
    parts = list(windows)
    seconds = sum(part.seconds for part in parts)
    requests = sum(part.requests for part in parts)
    latency: Counter[int] = Counter()
    for part in parts:
        latency.update(dict(part.latency_ns))
    by_time = [(part, part.seconds / seconds) for part in parts] if seconds else []
    by_count = [(part, part.requests / requests) for part in parts] if requests else []
    merged = Window(
        seconds=seconds,
        requests=requests,
        latency_ns=tuple(sorted(latency.items())),
        reconnects=sum(part.reconnects for part in parts),
        busy_share=sum(part.busy_share * weight for part, weight in by_time),
        cpu_share=sum(part.cpu_share * weight for part, weight in by_time),
        stall_ms_max=max((part.stall_ms_max for part in parts), default=0.0),
        self_latency_share=sum(part.self_latency_share * weight for part, weight in by_count),
    )
    return merged.with_errors_of(parts)
