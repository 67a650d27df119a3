"""From the generator's buckets to an HDR histogram, and from there to percentiles."""

from __future__ import annotations

from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

LATENCY_NS_MIN = 1
LATENCY_NS_MAX = 60_000_000_000
DIGITS = 3
TAIL_SAMPLES_MIN = 10
"""A percentile with fewer samples beyond it than this is an anecdote."""


def new_histogram() -> HdrHistogram:
    return HdrHistogram(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS)


def histogram_of(pairs: Iterable[tuple[int, int]]) -> HdrHistogram:
    """The HDR histogram of (latency in ns, how many) pairs."""
    histogram = new_histogram()
    for latency_ns, count in pairs:
        histogram.record_value(latency_ns, count)
    return histogram


def merge_histograms(histograms: Iterable[HdrHistogram]) -> HdrHistogram:
    merged = new_histogram()
    for histogram in histograms:
        merged.add(histogram)
    return merged


def has_percentile(count: int, percent: float) -> bool:
    """Whether so many samples carry this percentile."""
    return count * (100.0 - percent) / 100.0 >= TAIL_SAMPLES_MIN * 0.999


def percentile_us(histogram: HdrHistogram, percent: float) -> float | None:
    """The percentile in us, or None when too few samples carry it."""
    if not has_percentile(histogram.get_total_count(), percent):
        return None
    return float(histogram.get_value_at_percentile(percent)) / 1000.0


def encode(histogram: HdrHistogram) -> str:
    """The histogram in HdrHistogram's own V2 format, base64."""
    text = histogram.encode()
    return text.decode() if isinstance(text, bytes) else str(text)
