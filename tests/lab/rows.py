"""Rows as a comparison makes them, for the tests of what shows them."""

from typing import Any


def a_row(model: str = "uring", **figures: Any) -> dict[str, Any]:
    """A good row with figures as wide as they come."""
    return {
        "model": model,
        "kind": "headrace",
        "version": "1",
        "requests_per_s": 1_234_567.0,
        "latency_us": {"p50": 1_053.6, "p99": 11_115.0, "p999": 120_216.0},
        "cpu_us_per_request": 115.61,
        "user_us_per_request": 15.61,
        "syscalls_per_request": 12.13,
        "syscalls_source": "perf raw_syscalls:sys_enter",
        "rss_bytes": 331_341_820,
        "errors": 0,
        "requests": 12_345_678,
        "spread": {
            "requests_per_s": [1_000_000.0, 1_300_000.0],
            "cpu_us_per_request": [100.0, 118.0],
        },
        "good_rounds": 3,
        "rounds": [{}, {}, {}],
        "trusted": True,
        "notes": [],
    } | figures


def a_row_without_figures(model: str, *notes: str) -> dict[str, Any]:
    """What has a reason in place of figures."""
    return a_row(
        model,
        requests_per_s=None,
        latency_us={"p50": None, "p99": None, "p999": None},
        cpu_us_per_request=None,
        user_us_per_request=None,
        syscalls_per_request=None,
        syscalls_source=None,
        rss_bytes=None,
        errors=7,
        spread={},
        good_rounds=0,
        trusted=False,
        notes=list(notes),
    )
