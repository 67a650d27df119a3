"""The result as data: what ``--json`` writes and the page is made of. See docs/claims.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace.claims.claim import DEPENDS, FAILED, HOLDS, REFUTED, UNDECIDED
from headrace.claims.run import Result

SCHEMA = 1
WORDS = {
    HOLDS: "hold",
    REFUTED: "refuted",
    DEPENDS: "depend",
    UNDECIDED: "not decidable here",
    FAILED: "failed",
}

Row = Mapping[str, Any]
"""A claim with what was found, as Result.as_dict() writes it."""


def build_report(
    results: Iterable[Result],
    scale: str,
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    interrupted: bool,
) -> dict[str, Any]:
    """Everything that was found, as plain data."""
    return {
        "schema": SCHEMA,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "interrupted": interrupted,
        "scale": scale,
        "machine": dict(machine),
        "versions": dict(versions),
        "claims": [result.as_dict() for result in results],
    }


def count_line(rows: Sequence[Row]) -> str:
    """How many of them hold, are refuted, and so on; in one line, without those that are none."""
    counts = Counter(row["verdict"] for row in rows)
    parts = [
        f"{counts[verdict]} {verdict if counts[verdict] == 1 else words}"
        for verdict, words in WORDS.items()
        if counts[verdict]
    ]
    seconds = sum(row["seconds"] for row in rows)
    return f"{len(rows)} claim{'' if len(rows) == 1 else 's'}: {', '.join(parts)}; {seconds:.0f} s"


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by their group, in the order in which the groups come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["group"], []).append(row)
    return found


def where(row: Row) -> str:
    """The notes that it stands in."""
    titles = [f"{note['number']} “{note['title']}”" for note in row["notes"]]
    return f"note{'s' if len(titles) > 1 else ''} {', '.join(titles)}"
