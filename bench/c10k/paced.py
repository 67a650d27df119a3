"""The scenario the box is for: so many users at a modem's rate, and who is alive when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from c10k.box import make_box
from c10k.cgroups import Bounds, Reading
from c10k.loading import Line, Load, loading, write_files
from c10k.peers import Wanted
from c10k.server import Server, running

LATE_S_MAX = 0.5
Result = dict[str, Any]
Show = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class Station:
    """Where a run takes place."""

    bounds: Bounds
    load_core: int
    pays_receiving: bool = True
    congestion: str | None = None
    """The server's congestion control; None: the machine's own."""


def core_times(core: int) -> dict[str, int]:
    """The core's time since boot, in ticks; softirqs of an idle core are in no group's account."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == f"cpu{core}":
            return dict(zip(names, map(int, words[1:9]), strict=True))
    return {}


def run_paced(name: str, wanted: Wanted, load: Load, station: Station, show: Show) -> Result:
    """One peer in a box of its own: a row for each second, and what was left at the end.

    Raises:
        ServerFailedError: the peer does not start.
        NoBoxError, NoCgroupError, LoadFailedError: nothing can be measured here.
    """
    bounds, core = station.bounds, station.load_core
    with make_box(
        bounds, pays_receiving=station.pays_receiving, congestion=station.congestion
    ) as box:
        files = write_files(box.folder / "files", load)
        with running(name, box, files, wanted) as server:
            before = box.group.read()
            rows, final, ended_s = [], {}, None
            with loading(load, box.address, files, core, box.sources) as lines:
                for line in lines:
                    if "final" in line:
                        final = line
                        continue
                    if line["second"] > load.seconds + LATE_S_MAX:
                        continue  # the users are leaving: the final line is what counts
                    rows.append(row(line, box.group.read(), before, server, bounds.core))
                    show(rows[-1])
                    if server.has_ended() and ended_s is None:  # out of memory, for one
                        ended_s = line["second"]
            return {
                "peer": name,
                "version": server.start.version,
                "shape": server.start.shape,
                "command": list(server.start.command),
                "load": asdict(load),
                "box": {
                    **asdict(bounds),
                    "quota_us": bounds.quota_us,
                    "sysctls": dict(box.sysctls),
                    "cgroup_version": box.group.version,
                    "pays_receiving": station.pays_receiving,
                },
                "rows": rows,
                "final": final,
                "end": box.group.read()._asdict(),
                "tcp": server.counters(),
                "wire": box.wire_statistics(),
                "log": server.last_words(),
                "server_ended_s": ended_s,
                "finished": time.time(),
            }


def row(line: Line, now: Reading, before: Reading, server: Server, core: int) -> Line:
    """The load's line with what the box used by then; times since the load began."""
    return {
        **line,
        "cpu_s": (now.cpu_ns - before.cpu_ns) / 1e9,
        "throttled_s": (now.throttled_ns - before.throttled_ns) / 1e9,
        "periods": now.periods - before.periods,
        "throttled_periods": now.throttled_periods - before.throttled_periods,
        "memory_bytes": now.memory_bytes,
        "socket_bytes": now.socket_bytes,
        "tcp": server.sockets(),
        "core": core_times(core),
    }
