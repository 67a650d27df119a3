"""The raw data of a scenario as a document: written as JSON, and all that a page is made of."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.lab.histogram import histogram_of, merge_histograms, percentile_us
from suite import machine
from suite.cell import Plan, Scenario
from suite.environment import BENCH
from suite.figures import Figure, Spread, spread
from suite.rounds import CellResult, Row
from suite.station import PERCENTILES

FOLDER = BENCH / "results"

Document = dict[str, Any]


def document_of(scenario: Scenario, plan: Plan, cells: Sequence[CellResult]) -> Document:
    return {
        "scenario": scenario.name,
        "summary": scenario.summary,
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine.LINE,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "cells": [cell_document(result) for result in cells],
    }


def cell_document(result: CellResult) -> Document:
    return {
        "name": result.cell.name,
        "primary": result.cell.primary,
        "columns": list(result.cell.columns),
        "rows": [row_document(row) for row in result.rows],
    }


def row_document(row: Row) -> Document:
    samples = [] if row.reason else row.samples
    merged = merge_histograms(histogram_of(one.latency_ns) for one in samples)
    return {
        "contender": row.contender.name,
        "version": row.contender.version,
        "reason": row.reason,
        "rounds": [{**one.figures, "disturbed": one.disturbed} for one in samples],
        "all_rounds": {
            name: found
            for name, part in PERCENTILES.items()
            if (found := percentile_us(merged, part)) is not None
        },
    }


def values(row: Document, column: str) -> list[Figure]:
    """A figure of each round; None where a round has it not."""
    return [one.get(column) for one in row["rounds"]]


def figure(row: Document, column: str) -> Spread | None:
    """The median over the rounds; of all rounds together where a single one is too short for it."""
    found = values(row, column)
    together = row["all_rounds"].get(column)
    if None in found and together is not None:
        return Spread(together, together, together, together, together, 1)
    return spread(found)


def row_of(document: Document, cell: str, contender: str) -> Document | None:
    """The row; None when the cell or the contender was left out."""
    for one in document["cells"]:
        if one["name"] == cell:
            for row in one["rows"]:
                if row["contender"] == contender:
                    return dict(row)
    return None


def user_share(row: Document) -> float | None:
    """The part of the CPU time that the server spent outside the kernel."""
    user = sum(one.get("user_ms", 0.0) for one in row["rounds"])
    system = sum(one.get("system_ms", 0.0) for one in row["rounds"])
    return user / (user + system) if user + system else None


def disturbed_count(row: Document) -> int:
    return sum(1 for one in row["rounds"] if one["disturbed"])


def write(document: Document, folder: Path = FOLDER) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{document['scenario']}.json"
    path.write_text(json.dumps(rounded(document), indent=1) + "\n")
    return path


def read_all(folder: Path = FOLDER) -> list[Document]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def rounded(value: Any) -> Any:
    """Six digits carry all there is to know, and keep the files small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return value


def median_of(document: Document, cell: str, contender: str, column: str) -> Figure:
    row = row_of(document, cell, contender)
    known = [value for value in values(row, column) if value is not None] if row else []
    return statistics.median(known) if known else None
