"""How far above the floor the models are: runs the comparison and prints the ratios that count.

    python bench/floor.py [options of headrace compare]

The bars: with 100 busy and 1,000 idle connections no errors; uring at most 0.2 system calls per
request and epoll at most 2.2; server CPU per request on uring at most 1.25 times, on epoll at
most 1.4 times that of a plain C epoll server; both below uvloop's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headrace.lab import compare

LOAD = ["--busy", "100", "--idle", "1000", "--floor"]
SYSTEM_CALLS_MAX = {"uring": 0.2, "epoll": 2.2}
CPU_RATIO_MAX = {"uring": 1.25, "epoll": 1.4}
FLOOR = "c-epoll"
PEER = "uvloop"

Rows = Mapping[str, Mapping[str, Any]]
Bar = tuple[str, float | None, float]
"""What is compared, the figure (None when it was not measured), and its upper limit."""


def ratio(rows: Rows, one: str, other: str) -> float | None:
    """CPU per request of one over that of the other; the same round decides, then the median."""
    pairs = zip(cpu_of_rounds(rows, one), cpu_of_rounds(rows, other), strict=False)
    ratios = sorted(left / right for left, right in pairs if left and right)
    return ratios[len(ratios) // 2] if ratios else None


def cpu_of_rounds(rows: Rows, name: str) -> list[float | None]:
    return [one["cpu_us_per_request"] for one in rows.get(name, {"rounds": []})["rounds"]]


def bars(rows: Rows) -> Iterator[Bar]:
    for name, limit in SYSTEM_CALLS_MAX.items():
        figure = rows.get(name, {}).get("syscalls_per_request")
        yield f"{name}: system calls per request", figure, limit
    for name, limit in CPU_RATIO_MAX.items():
        yield f"{name} / {FLOOR}: CPU per request", ratio(rows, name, FLOOR), limit
    for name in CPU_RATIO_MAX:
        yield f"{name} / {PEER}: CPU per request", ratio(rows, name, PEER), 1.0
    for name, row in rows.items():
        if row["requests_per_s"] is not None:
            yield f"{name}: errors", float(row["errors"]), 0.0


def verdict(figure: float | None, limit: float) -> str:
    if figure is None:
        return "not measured"
    return "ok" if figure <= limit else "MISSED"


def main(argv: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        status = compare.main(["--json", str(path), *LOAD, *argv])
        if status != 0:
            return status
        rows = {row["model"]: row for row in json.loads(path.read_text())["rows"]}
    print()
    verdicts = set()
    for what, figure, limit in bars(rows):
        found = verdict(figure, limit)
        verdicts.add(found)
        shown = "-" if figure is None else f"{figure:.2f}"
        print(f"{what:<34} {shown:>7}  at most {limit:.2f}  {found}")
    return 1 if "MISSED" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
