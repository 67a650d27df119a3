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
    histogram: HdrHistogram
    trusted: bool
    """Whether its figures may be printed as if they were good."""

    @property
    def model(self) -> str:
        return str(self.figures["model"])

    @property
    def measured(self) -> bool:
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


def spreads(measured: Sequence[Round]) -> dict[str, list[float]]:
    found = {}
    for name in SPREAD_FIGURES:
        values = [
            value
            for one in measured
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


def system_calls(measured: Sequence[Round]) -> dict[str, float] | None:
    """System calls per request by name, where the loop counts them."""
    for one in reversed(measured):
        counted = (one.statistics or {}).get("system_calls")
        if isinstance(counted, dict) and one.window.requests:
            return {name: count / one.window.requests for name, count in counted.items() if count}
    return None


def raw_round(one: Round, histogram: HdrHistogram | None) -> dict[str, Any]:
    """A round as it goes into the JSON, its latencies as an HdrHistogram V2 payload."""
    figures = asdict(one)
    window = figures.pop("window")
    window.pop("latency_ns")
    del figures["model"]
    return {**figures, **window, "histogram": encode(histogram) if histogram else None}


def summarise(contender: Contender, rounds: Sequence[Round]) -> Row:
    """The row of a contender; with no round that measured anything its figures are None."""
    measured = [one for one in rounds if one.failed is None and one.window.requests > 0]
    histograms = [histogram_of(one.window.latency_ns) for one in measured]
    merged = merge_histograms(histograms)
    rate = median_of(measured, requests_per_s)
    errors = judge.count_errors(rounds)
    serious = [
        *([contender.reason] if contender.reason else []),
        *judge.failure_note(rounds),
        *judge.error_notes(rounds),
        *judge.exception_notes(rounds),
        *judge.sample_notes(measured),
        *judge.generator_notes(measured),
    ]
    if not serious and rounds and not measured:
        serious = ["not a single request was answered"]
    rates = [requests_per_s(one) for one in measured]
    latency_us = latency_figures(histograms, merged)
    doubts = [
        *judge.percentile_notes(latency_us, merged.get_total_count()),
        *judge.doubts(measured, rates, rate or 0.0),
    ]
    by_round = dict(zip(map(id, measured), histograms, strict=True))
    figures = {
        "model": contender.name,
        "kind": contender.kind,
        "version": contender.version,
        "requests_per_s": rate,
        "latency_us": latency_us,
        "cpu_us_per_request": median_of(measured, lambda one: one.cpu_us_per_request),
        "user_us_per_request": median_of(measured, lambda one: one.user_us_per_request),
        "system_us_per_request": median_of(measured, lambda one: one.system_us_per_request),
        "syscalls_per_request": median_of(measured, lambda one: one.syscalls_per_request),
        "syscalls_source": next((r.syscalls_source for r in measured if r.syscalls_source), None),
        "system_calls_per_request": system_calls(measured),
        "rss_bytes": median_of(measured, lambda one: one.rss_bytes),
        "rss_bytes_per_connection": median_of(measured, connection_bytes),
        "errors": sum(errors.values()) if measured or errors else None,
        "error_kinds": errors,
        "requests": sum(one.window.requests for one in measured),
        "spread": spreads(measured),
        "trusted": not serious,
        "notes": serious + doubts,
        "rounds": [raw_round(one, by_round.get(id(one))) for one in rounds],
    }
    return Row(figures, merged, not serious)
