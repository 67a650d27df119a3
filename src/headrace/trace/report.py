"""What was recorded, in words and as data: what ``--json`` writes.  See docs/trace.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from headrace.lab.charts import duration
from headrace.models.registry import ModelInfo
from headrace.trace.options import Options
from headrace.trace.record import REQUESTS
from headrace.trace.timeline import Timeline

SCHEMA = 1
TITLE = "One request on {model}: who waits, and who copies"
PHASES = ("waiting until the data are there", "copying them to the user")


@dataclass(frozen=True)
class Result:
    """All that one call of the command has recorded."""

    options: Options
    model: ModelInfo
    untraced: Timeline
    medians_us: tuple[float, float]
    """Of both phases, over the requests without strace."""
    traced: Timeline | None
    refusal: str | None
    """Why there is no strace; None where there is, or where it was not wanted."""

    @property
    def shown(self) -> Timeline:
        return self.traced or self.untraced


def build_report(
    result: Result, machine: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    waiting_us, copying_us = result.medians_us
    return {
        "schema": SCHEMA,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "versions": dict(versions),
        "model": {
            "name": result.model.name,
            "stevens": result.model.stevens,
            "waits": result.model.waits,
            "copies": result.model.copies,
            "system_calls": list(result.model.system_calls),
        },
        "size_bytes": result.options.size,
        "delay_ms": result.options.delay,
        "strace": {"used": result.traced is not None, "reason": reason(result)},
        "phases": [
            {"who": result.shown.waits, "median_us": waiting_us},
            {"who": result.shown.copies, "median_us": copying_us},
        ],
        "untraced": asdict(result.untraced),
        "traced": None if result.traced is None else asdict(result.traced),
    }


def reason(result: Result) -> str | None:
    """Why strace was not used; None where it was."""
    if result.traced is not None:
        return None
    return result.refusal or "not asked for"


def title(result: Result) -> str:
    return TITLE.format(model=result.model.name)


def phase_lines(result: Result) -> list[str]:
    """The two phases in words: how long without strace, and who."""
    shown = result.shown
    drawn = (shown.there, shown.told - shown.there)
    who = (shown.waits, shown.copies)
    lines = []
    for number, what in enumerate(PHASES):
        long = rounded(result.medians_us[number])
        if shown.is_seen:
            long += f" ({rounded(drawn[number])} under strace)"
        words = who[number] if shown.is_seen else f"{who[number]}, says the model"
        lines.append(f"phase {number + 1}, {what}: {long}; {words}")
    return lines


def rounded(us: float) -> str:
    """A duration with as many digits as it deserves."""
    if abs(us) >= 1000:
        return f"{us / 1000:.2f} ms"
    return duration(round(us) if abs(us) >= 10 else round(us, 1))


def source_lines(result: Result, kernel: str) -> list[str]:
    """Where the facts come from, and what must be known to read them."""
    options = result.options
    lines = [
        f"Linux {kernel}; {options.size:,} bytes over TCP on this machine, sent"
        f" {options.delay} ms after the last answer; the middle one of {REQUESTS} requests"
    ]
    if result.shown.asked_before is not None:
        lines.append(
            f"the model had been asked for these data {rounded(result.shown.asked_before)} before"
            " the picture begins"
        )
    if result.traced is not None:
        lines.append(
            "drawn from a run under strace, which makes each call some 10 to 50 µs slower; the"
            " durations of the phases are medians of a run without it"
        )
    else:
        lines.append(
            f"the model's own timestamps alone ({reason(result)}): which thread calls what is not"
            " seen, who waits and copies is what the model declares"
        )
    return lines
