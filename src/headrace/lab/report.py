"""The result as data: what ``--json`` writes and the page is made of. See docs/compare.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace.lab.options import Options
from headrace.lab.process import Cores
from headrace.lab.summary import Row

SCHEMA = 1


def flags_of(options: Options) -> dict[str, Any]:
    return {
        "busy": options.busy,
        "idle": options.idle,
        "size_bytes": options.size,
        "seconds": options.seconds,
        "mode": options.mode,
        "repeat": options.repeat,
        "models": list(options.models) if options.models else None,
        "raw": options.raw,
        "floor": options.floor,
        "http": options.http,
        "command": list(options.command),
    }


def build_report(
    options: Options,
    rows: Sequence[Row],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    cores: Cores,
    *,
    interrupted: bool,
) -> dict[str, Any]:
    """Everything measured, as plain data."""
    return {
        "schema": SCHEMA,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "interrupted": interrupted,
        "machine": dict(machine),
        "cores": {"load": cores.load, "server": sorted(cores.server)},
        "versions": dict(versions),
        "flags": flags_of(options),
        "rows": [row.figures for row in rows],
    }


def title_line(flags: Mapping[str, Any]) -> str:
    """What was measured, in one line."""
    load = f"{flags['busy']:,} busy and {flags['idle']:,} idle connections"
    times = f"{flags['repeat']} x {flags['seconds']:g} s"
    if flags["http"]:
        return f"GET {flags['http']}: {load}, {times}"
    return f"upper-case service, {flags['mode']}: {load}, {flags['size_bytes']:,} bytes, {times}"


def json_text(report: Mapping[str, Any]) -> str:
    """The report as JSON, which has no infinity: one such figure is null, and the rest is kept."""
    return json.dumps(finite(report), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The same data with None for each number that is none."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
