"""Outside the quota: 100 clients fetch 10 MB files as fast as they come, peers interleaved."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from c10k.box import make_box
from c10k.install import CannotInstallError
from c10k.loading import Load, loading, write_files
from c10k.paced import Station
from c10k.peers import Wanted
from c10k.server import ServerFailedError, running
from c10k.table import aligned

CLIENTS = 100
FILE_BYTES = 10_000_000
SECONDS = 6.0
WARM_UP_S = 2.0


def run_throughput(
    names: Sequence[str], wanted: Wanted, station: Station, rounds: int
) -> list[dict[str, Any]]:
    """Each peer once in each round, beginning with another one each time."""
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
            try:
                sample = measure(name, wanted, station)
            except (ServerFailedError, CannotInstallError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            samples[name].append(sample)
            print(f"round {turn + 1}  {name}: {sample['bytes_per_s'] / 1e6:,.0f} MB/s", flush=True)
    print(table(samples), flush=True)
    return [{"peer": name, "rounds": found} for name, found in samples.items()]


def measure(name: str, wanted: Wanted, station: Station) -> dict[str, Any]:
    load = Load(CLIENTS, 1000.0, SECONDS + WARM_UP_S, 0, FILE_BYTES, spin=True)
    points = []
    with make_box(station.bounds, shaped=False, pays_receiving=False) as box:
        files = write_files(box.folder / "files", load)
        with (
            running(name, box, files, wanted) as server,
            loading(load, box.address, files, station.load_core, box.sources) as lines,
        ):
            for line in lines:
                points.append((line, box.group.read().cpu_ns))
            version = server.start.version
    warm = [
        point for point in points if point[0]["second"] >= WARM_UP_S and "final" not in point[0]
    ]
    (first, cpu_before), (last, cpu_after) = warm[0], warm[-1]
    sent = last["bytes"] - first["bytes"]
    seconds = last["second"] - first["second"]
    return {
        "version": version,
        "alive": last["alive"],
        "reasons": last["reasons"],
        "bytes_per_s": sent / seconds,
        "cpu_s_per_gb": (cpu_after - cpu_before) / sent if sent else None,
        "core_share": (cpu_after - cpu_before) / 1e9 / seconds,
        "load_core_share": (last["load_cpu_s"] - first["load_cpu_s"]) / seconds,
    }


def table(samples: dict[str, list[dict[str, Any]]]) -> str:
    rows = [["server", "MB/s", "(each round)", "CPU s/GB", "core", "load's core", "lost"]]
    for name, found in samples.items():
        if not found:
            continue
        each = " ".join(f"{sample['bytes_per_s'] / 1e6:.0f}" for sample in found)
        rows.append(
            [
                name,
                f"{middle(found, 'bytes_per_s') / 1e6:,.0f}",
                each,
                f"{middle(found, 'cpu_s_per_gb'):.3f}",
                f"{middle(found, 'core_share'):.0%}",
                f"{middle(found, 'load_core_share'):.0%}",
                str(sum(sum(sample["reasons"].values()) for sample in found)),
            ]
        )
    return aligned(rows)


def middle(found: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.median(sample[name] or 0.0 for sample in found)
