"""Which rounds may make a figure, and what to say of the others.

A round with a flaw makes no figure: its numbers look like any other's and mean something else.
Where good rounds are left, the row is made of those and says how many were left out; where none
is, it has the reason in place of figures.  What was measured is in the JSON's rounds all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace.lab.measure import Round

REQUESTS_MIN = 200
"""Fewer requests than this in a round say nothing about a rate."""
OVERLOAD_SHARE = 0.95
SERVER_BUSY_SHARE = 0.90
OTHERS_SHARE_MAX = 0.10
SPREAD_MAX = 0.30
SELF_LATENCY_SHARE_MAX = 0.25
"""Seen: 0.01 to 0.19 with 1 to 4,000 connections; 0.32 beside a generator that is busy for 93 %."""
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


def is_overloaded(one: Round) -> bool:
    """The generator limits the result when it never rests while the server does."""
    is_server_busy = (one.server_busy_share or 0.0) >= SERVER_BUSY_SHARE
    return not one.shared_core and one.window.busy_share > OVERLOAD_SHARE and not is_server_busy


def failure_words(rounds: Sequence[Round]) -> str:
    return str(rounds[0].failed)


def error_words(rounds: Sequence[Round]) -> str:
    kinds = count_errors(rounds)
    words = ", ".join(f"{count:,} {ERROR_WORDS.get(kind, kind)}" for kind, count in kinds.items())
    status = next((one.window.bad_status for one in rounds if one.window.bad_status), 0)
    return words + (f" (first: {status})" if status else "")


def exception_words(rounds: Sequence[Round]) -> str:
    count = sum(one.exceptions for one in rounds)
    first = next((one.first_exception for one in rounds if one.first_exception), None)
    return f"{count:,} exceptions in the server's loop, the first: {first}"


def sample_words(rounds: Sequence[Round]) -> str:
    fewest = min(one.window.requests for one in rounds)
    return f"{fewest:,} requests in a round; measure longer (--seconds)"


def overload_words(rounds: Sequence[Round]) -> str:
    share = min(one.server_busy_share or 0.0 for one in rounds)
    return f"the server was only {share:.0%} busy; its true rate is higher"


@dataclass(frozen=True)
class Flaw:
    """Why a round makes no figure."""

    name: str
    holds: Callable[[Round], bool]
    words: Callable[[Sequence[Round]], str]
    of_all: str = ""
    """What stands before the words when all rounds have it, and when only some have."""
    of_some: str = ""


# In the order in which they explain each other: a round has the first that holds.
FLAWS = (
    Flaw("failed", lambda one: one.failed is not None, failure_words, "", "failed: "),
    Flaw("errors", lambda one: one.window.error_count > 0, error_words, "errors: ", "had errors: "),
    Flaw("exceptions", lambda one: one.exceptions > 0, exception_words, "", "had "),
    Flaw(
        "no replies",
        lambda one: one.window.requests == 0,
        lambda rounds: "not a single request was answered",
        of_some="failed: ",
    ),
    Flaw(
        "too short",
        lambda one: one.window.requests < REQUESTS_MIN,
        sample_words,
        "too short: ",
        "were too short: ",
    ),
    Flaw(
        "generator overloaded",
        is_overloaded,
        overload_words,
        "load generator overloaded: ",
        "had an overloaded load generator: ",
    ),
)


def flaw_of(one: Round) -> Flaw | None:
    """Why this round makes no figure; None if it is good."""
    return next((flaw for flaw in FLAWS if flaw.holds(one)), None)


def flaw_notes(rounds: Sequence[Round]) -> list[str]:
    """What spoiled which part of the rounds, the worst first."""
    found = []
    for flaw in FLAWS:
        flawed = [one for one in rounds if flaw_of(one) is flaw]
        if len(flawed) == len(rounds) > 0:
            found.append(flaw.of_all + flaw.words(flawed))
        elif flawed:
            count = f"{len(flawed)} of {len(rounds)} rounds "
            found.append(count + flaw.of_some + flaw.words(flawed))
    return found


def percentile_notes(latency_us: Mapping[str, float | None], requests: int) -> list[str]:
    """Which percentiles of the table are missing for want of samples."""
    missing = [label for name, label in TABLE_PERCENTILES.items() if latency_us[name] is None]
    if requests == 0 or not missing:
        return []
    return [f"{requests:,} requests are too few for {' and '.join(missing)}; try --seconds"]


def loop_notes(good: Sequence[Round]) -> list[str]:
    """COMMAND as it is need not run on asyncio's own loop."""
    loaded = sorted({name for one in good for name in one.other_loops})
    if not loaded:
        return []
    return [f"COMMAND has loaded {' and '.join(loaded)}: the figures may be of that loop"]


def cpu_notes(good: Sequence[Round]) -> list[str]:
    """Why the CPU time of some rounds is missing."""
    if all(one.cpu_known for one in good):
        return []
    return ["CPU time unknown: processes ended, or may have, for which their parent did not wait"]


def thread_notes(rounds: Sequence[Round]) -> list[str]:
    """A model of threads had too few: operations waited for one, and so may have all figures.

    Flawed rounds count as well: it is often why they are too short.
    """
    rotations = sum((one.statistics or {}).get("thread_rotations", 0) for one in rounds)
    if not rotations:
        return []
    return [f"too few threads: they went round {rotations:,} times; raise $HEADRACE_THREADS"]


def latency_notes(good: Sequence[Round]) -> list[str]:
    """The replies waited for the generator: their latency is its own rather than the server's."""
    share = max((one.window.self_latency_share for one in good if not one.shared_core), default=0.0)
    if share <= SELF_LATENCY_SHARE_MAX:
        return []
    return [f"up to {share:.0%} of the latency was spent in the load generator; try a lower --busy"]


def doubts(good: Sequence[Round], rates: Sequence[float], median: float) -> list[str]:
    """Somebody else used the cores, or the rounds disagree: one note, with the figures."""
    if any(one.shared_core for one in good):
        return ["server and load share the only core: the rate and the latency are of both"]
    load = max((1.0 - one.window.cpu_share for one in good), default=0.0)
    server = max((one.server_lost_share or 0.0 for one in good), default=0.0)
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
