"""Whether a figure may be printed as if it were good, and what to say when it may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from headrace.lab.measure import Round

REQUESTS_MIN = 200
"""Fewer requests than this in a round say nothing about a rate."""
OVERLOAD_SHARE = 0.95
SERVER_BUSY_SHARE = 0.90
OTHERS_SHARE_MAX = 0.10
SPREAD_MAX = 0.30
TABLE_PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
DISTURBED = "disturbed"
ERROR_WORDS = {
    "wrong_bytes": "wrong bytes",
    "extra_bytes": "more bytes than asked for",
    "short_reply": "closed within a reply",
    "closed": "closed before the reply",
    "reset": "reset by the server",
    "no_reply": "never answered",
    "connect_failed": "could not connect again",
    "idle_closed": "idle connection closed by the server",
    "http_status": "HTTP status not 2xx",
    "http_malformed": "not an HTTP reply",
}


def count_errors(rounds: Sequence[Round]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for one in rounds:
        kinds.update(one.window.errors)
    return dict(kinds)


def failure_note(rounds: Sequence[Round]) -> list[str]:
    failed = [one.failed for one in rounds if one.failed is not None]
    return [failed[0]] if failed else []


def error_notes(rounds: Sequence[Round]) -> list[str]:
    kinds = count_errors(rounds)
    if not kinds:
        return []
    words = ", ".join(f"{count:,} {ERROR_WORDS.get(kind, kind)}" for kind, count in kinds.items())
    status = next((one.window.bad_status for one in rounds if one.window.bad_status), 0)
    return [f"errors: {words}" + (f" (first: {status})" if status else "")]


def exception_notes(rounds: Sequence[Round]) -> list[str]:
    count = sum(one.exceptions for one in rounds)
    first = next((one.first_exception for one in rounds if one.first_exception), None)
    return [f"{count:,} exceptions in the server's loop, the first: {first}"] if count else []


def sample_notes(measured: Sequence[Round]) -> list[str]:
    fewest = min((one.window.requests for one in measured), default=0)
    if measured and fewest < REQUESTS_MIN:
        return [f"too short: {fewest:,} requests in a round; measure longer (--seconds)"]
    return []


def percentile_notes(latency_us: Mapping[str, float | None], requests: int) -> list[str]:
    """Which percentiles of the table are missing for want of samples."""
    missing = [label for name, label in TABLE_PERCENTILES.items() if latency_us[name] is None]
    if requests == 0 or not missing:
        return []
    return [f"{requests:,} requests are too few for {' and '.join(missing)}; try --seconds"]


def generator_notes(measured: Sequence[Round]) -> list[str]:
    """The generator limits the result when it never rests while the server does."""
    if any(one.shared_core for one in measured):
        return ["server and load share the only core: the rate and the latency are of both"]
    overloaded = [
        one
        for one in measured
        if one.window.busy_share > OVERLOAD_SHARE
        and (one.server_busy_share or 0.0) < SERVER_BUSY_SHARE
    ]
    if 2 * len(overloaded) <= len(measured):
        return []  # the median does not stand on them
    share = min(one.server_busy_share or 0.0 for one in overloaded)
    return [
        f"load generator overloaded in {len(overloaded)} of {len(measured)} rounds: the server"
        f" was only {share:.0%} busy; its true rate is higher"
    ]


def doubts(measured: Sequence[Round], rates: Sequence[float], median: float) -> list[str]:
    """Somebody else used the cores, or the rounds disagree: one note, with the figures."""
    if any(one.shared_core for one in measured):
        return []  # a worse note stands there already
    load = max((1.0 - one.window.cpu_share for one in measured), default=0.0)
    server = max((one.server_lost_share or 0.0 for one in measured), default=0.0)
    spread = (max(rates) - min(rates)) / median if len(rates) > 1 and median > 0 else 0.0
    found = []
    if load > OTHERS_SHARE_MAX:
        found.append(f"other programs took up to {load:.0%} of the load generator's core")
    if server > OTHERS_SHARE_MAX:
        found.append(f"other programs took up to {server:.0%} of the server's core")
    cause = DISTURBED if found else "unsteady"
    if spread > SPREAD_MAX:
        found.append(f"requests/s spread over {spread:.0%}")
    return [f"{cause}: {', '.join(found)}"] if found else []
