"""From rounds to a row: medians, spreads, percentiles and notes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from headrace.lab import judge
from headrace.lab.contenders import Contender
from headrace.lab.histogram import (
    encode,
    has_percentile,
    histogram_of,
    merge_histograms,
    percentile_us,
)
from headrace.lab.measure import Round

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9, "p9999": 99.99}
SPREAD_FIGURES = ("requests_per_s", "cpu_us_per_request")


@dataclass(frozen=True)
class Row:
    """One line of the result, ready for the table, the JSON and the page."""

    figures: dict[str, Any]
    trusted: bool
    """Whether every round was good."""

    @property
    def model(self) -> str:
        return str(self.figures["model"])

    @property
    def measured(self) -> bool:
        """Whether there is at least one good round."""
        return self.figures["requests_per_s"] is not None


def requests_per_s(one: Round) -> float:
    return one.window.requests / one.window.seconds


def median_of(rounds: Sequence[Round], figure: Callable[[Round], float | None]) -> float | None:
    values = [value for one in rounds if (value := figure(one)) is not None]
    return statistics.median(values) if values else None


def latency_figures(
    histograms: Sequence[HdrHistogram], merged: HdrHistogram
) -> dict[str, float | None]:
    """Medians over the rounds; where a round is too short for one, of all rounds together."""
    found: dict[str, float | None] = {}
    for name, percent in PERCENTILES.items():
        if all(has_percentile(one.get_total_count(), percent) for one in histograms):
            values = [percentile_us(one, percent) for one in histograms]
            known = [value for value in values if value is not None]
            found[name] = statistics.median(known) if known else None
        else:
            found[name] = percentile_us(merged, percent)
    highest = merged.get_max_value() if merged.get_total_count() else None
    found["max"] = highest / 1000.0 if highest is not None else None
    return found


def spreads(good: Sequence[Round]) -> dict[str, list[float]]:
    found = {}
    for name in SPREAD_FIGURES:
        values = [
            value
            for one in good
            if (
                value := requests_per_s(one)
                if name == SPREAD_FIGURES[0]
                else one.cpu_us_per_request
            )
            is not None
        ]
        if values:
            found[name] = [min(values), max(values)]
    return found


def connection_bytes(one: Round) -> float | None:
    if one.rss_bytes is None or one.rss_start_bytes is None or one.connections == 0:
        return None
    return (one.rss_bytes - one.rss_start_bytes) / one.connections


def system_calls(good: Sequence[Round]) -> dict[str, float] | None:
    """System calls per request by name, where the loop counts them."""
    for one in reversed(good):
        counted = (one.statistics or {}).get("system_calls")
        if isinstance(counted, dict) and one.window.requests:
            return {name: count / one.window.requests for name, count in counted.items() if count}
    return None


def version_of(contender: Contender, good: Sequence[Round]) -> str:
    """Of the loop; the user's command as it is may have brought one of its own."""
    loaded = {name for one in good for name in one.other_loops}
    return ", ".join([*sorted(loaded), contender.version]) if loaded else contender.version


def raw_round(one: Round) -> dict[str, Any]:
    """A round as it goes into the JSON, its latencies as an HdrHistogram V2 payload."""
    figures = asdict(one)
    window = figures.pop("window")
    window.pop("latency_ns")
    del figures["model"]
    flaw = judge.flaw_of(one)
    return {
        **figures,
        **window,
        "flaw": flaw.name if flaw else None,
        "histogram": encode(histogram_of(one.window.latency_ns)) if one.window.requests else None,
    }


def summarise(contender: Contender, rounds: Sequence[Round]) -> Row:
    """The row of a contender, made of its good rounds; without any, its figures are None."""
    good = [one for one in rounds if judge.flaw_of(one) is None]
    histograms = [histogram_of(one.window.latency_ns) for one in good]
    merged = merge_histograms(histograms)
    latency_us = latency_figures(histograms, merged)
    rates = [requests_per_s(one) for one in good]
    rate = median_of(good, requests_per_s)
    errors = judge.count_errors(rounds)
    was_loaded = any(one.failed is None for one in rounds)
    serious = [contender.reason] if contender.reason else judge.flaw_notes(rounds)
    doubts = [
        *judge.loop_notes(good),
        *judge.percentile_notes(latency_us, merged.get_total_count()),
        *judge.cpu_notes(good),
        *judge.latency_notes(good),
        *judge.thread_notes(rounds),
        *judge.doubts(good, rates, rate or 0.0),
    ]
    figures = {
        "model": contender.name,
        "kind": contender.kind,
        "version": version_of(contender, good),
        "requests_per_s": rate,
        "latency_us": latency_us,
        "cpu_us_per_request": median_of(good, lambda one: one.cpu_us_per_request),
        "user_us_per_request": median_of(good, lambda one: one.user_us_per_request),
        "system_us_per_request": median_of(good, lambda one: one.system_us_per_request),
        "syscalls_per_request": median_of(good, lambda one: one.syscalls_per_request),
        "syscalls_source": next((r.syscalls_source for r in good if r.syscalls_source), None),
        "system_calls_per_request": system_calls(good),
        "rss_bytes": median_of(good, lambda one: one.rss_bytes),
        "rss_bytes_per_connection": median_of(good, connection_bytes),
        "errors": sum(errors.values()) if was_loaded or errors else None,
        "error_kinds": errors,
        "requests": sum(one.window.requests for one in rounds),
        "spread": spreads(good),
        "trusted": not serious,
        "notes": serious + doubts,
        "good_rounds": len(good),
        "rounds": [raw_round(one) for one in rounds],
    }
    return Row(figures, not serious)
