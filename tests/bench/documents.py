"""Documents of results, made up for the tests."""

from __future__ import annotations

from typing import Any


def row(contender: str, *rounds: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {
        "contender": contender,
        "version": "1.0",
        "reason": reason,
        "rounds": [{"disturbed": None, **one} for one in rounds],
        "all_rounds": {},
    }


def row_of_values(contender: str, column: str, *values: float | None) -> dict[str, Any]:
    """One figure in each round; None for a round that has it not."""
    return row(contender, *({} if value is None else {column: value} for value in values))


def document(scenario: str, **cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "summary": "made up",
        "time": "2026-01-01 00:00 UTC",
        "machine": "a machine",
        "rounds": 3,
        "seconds": 0.1,
        "cells": [cell(name, rows) for name, rows in cells.items()],
    }


def cell(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "primary": "cpu_us",
        "columns": ["syscalls", "cpu_us", "p50_us"],
        "rows": rows,
    }
