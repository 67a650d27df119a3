"""What a session costs that is logged in and silent: growth of memory, divided by the sessions.

Three figures, because each alone can be misread: what the box is charged (pages, kernel objects and
socket buffers: what the machine really loses), and the growth of the processes' own memory, each
process's shared pages counted in full (RSS) and divided among those that share them (PSS).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from c10k.box import Box, make_box
from c10k.install import CannotInstallError
from c10k.loading import Load, loading, write_files
from c10k.paced import Station
from c10k.peers import Wanted
from c10k.server import ServerFailedError, running
from c10k.table import aligned

SETTLE_S = 5.0
FILE_BYTES = 102_400
LOGIN_RATE = 3600.0


def memory_of(box: Box) -> dict[str, int]:
    """What the box holds now, in bytes."""
    reading = box.group.read()
    found = {"group": reading.memory_bytes, "sockets": reading.socket_bytes, "rss": 0, "pss": 0}
    for pid in box.group.processes():
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("Rss", "Pss"):
                    found[name.lower()] += int(value.split()[0]) * 1024
    return found


def run_idle(
    names: Sequence[str], wanted: Wanted, station: Station, sessions: int, ramp_per_s: float
) -> list[dict[str, Any]]:
    results = []
    for name in names:
        print(f"== {name}", flush=True)
        try:
            results.append(measure(name, wanted, station, sessions, ramp_per_s))
        except (ServerFailedError, CannotInstallError) as error:
            print(f"{name}: {error}", file=sys.stderr)
    if results:
        print(table(results), flush=True)
    return results


def measure(
    name: str, wanted: Wanted, station: Station, sessions: int, ramp_per_s: float
) -> dict[str, Any]:
    ramp_s = sessions / ramp_per_s
    load = Load(sessions, ramp_per_s, ramp_s + SETTLE_S, LOGIN_RATE, FILE_BYTES, idle=True)
    with make_box(station.bounds, pays_receiving=station.pays_receiving) as box:
        files = write_files(box.folder / "files", load)
        with running(name, box, files, wanted) as server:
            before = after = memory_of(box)
            last: dict[str, Any] = {}
            with loading(load, box.address, files, station.load_core, box.sources) as lines:
                for line in lines:
                    if "final" not in line and line["second"] > ramp_s + SETTLE_S - 2:
                        after, last = memory_of(box), line
                return {
                    "peer": name,
                    "version": server.start.version,
                    "sessions": last["logged_in"],
                    "reasons": last["reasons"],
                    "before": before,
                    "after": after,
                }


def table(results: Sequence[dict[str, Any]]) -> str:
    head = [
        "server",
        "sessions",
        "KiB each",
        "of it sockets",
        "RSS growth",
        "PSS growth",
        "base MiB",
    ]
    rows = [head]
    for result in results:
        count = result["sessions"] or 1
        growth = {
            kind: (result["after"][kind] - result["before"][kind]) / 1024 / count
            for kind in result["after"]
        }
        rows.append(
            [
                result["peer"],
                f"{result['sessions']:,}",
                f"{growth['group'] + growth['sockets']:.1f}",
                f"{growth['sockets']:.1f}",
                f"{growth['rss']:.1f}",
                f"{growth['pss']:.1f}",
                f"{result['before']['pss'] / 1024**2:.0f}",
            ]
        )
    return aligned(rows)
