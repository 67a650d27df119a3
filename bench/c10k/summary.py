"""What the rows of one run come to: the figures of the table.  Pure: rows in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
SETTLE_S = 5.0
"""After the last user came, before the held part begins."""
TICKS_PER_S = 100


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. CPU figures are of the held part: when all users have come, until the end."""

    users: int
    alive: int
    transfers: int
    reasons: Mapping[str, int]
    held_s: float | None
    cpu_ms_per_transfer: float | None
    cpu_share: float | None
    """Of one core."""
    quota_share: float | None
    """The same of the quota; None where there is none."""
    throttled_share: float | None
    """Of the periods, in how many the server had to stop."""
    beside_share: float | None
    """Of the core, what it worked for nobody's account: softirqs while it was idle, mostly."""
    memory_peak_bytes: int
    socket_peak_bytes: int
    """How much of that peak was socket buffers."""
    login_p50_ms: float | None
    login_p99_ms: float | None
    login_max_ms: float | None
    rate_p1: float | None
    """Bytes/s that 99 of 100 transfers reached."""
    megabits_per_s: float | None
    load_late_ms_max: float
    load_core_share: float

    @property
    def load_failed(self) -> bool:
        """Whether users were lost by the load generator's own fault."""
        return any(reason.startswith("load:") for reason in self.reasons)


def summarise(result: Mapping[str, Any]) -> Summary:
    rows: Sequence[Row] = result["rows"]
    load, final = result["load"], result["final"]
    peak = max(rows, key=lambda row: row["memory_bytes"] + row["socket_bytes"])
    held = held_rows(rows, load["users"] / load["ramp_per_s"])
    login, rate = final["login_us"], final["rate_bytes_per_s"]
    return Summary(
        users=load["users"],
        alive=final["alive"],
        transfers=final["transfers"],
        reasons=final["reasons"],
        memory_peak_bytes=peak["memory_bytes"] + peak["socket_bytes"],
        socket_peak_bytes=peak["socket_bytes"],
        login_p50_ms=milliseconds(login, "p50"),
        login_p99_ms=milliseconds(login, "p99"),
        login_max_ms=milliseconds(login, "max"),
        rate_p1=rate.get("p1"),
        load_late_ms_max=final["load_late_ms_max"],
        load_core_share=final["load_cpu_s"] / load["seconds"],
        **held_figures(held, load["file_bytes"], result["box"]["cpu_share"]),
    )


def milliseconds(percentiles: Mapping[str, float], name: str) -> float | None:
    return percentiles[name] / 1000 if percentiles["count"] else None


def held_rows(rows: Sequence[Row], ramp_s: float) -> Sequence[Row]:
    """The rows after the ramp; of a run that is too short for it, the second half."""
    held = [row for row in rows if row["second"] >= ramp_s + SETTLE_S]
    return held if len(held) >= 3 else rows[len(rows) // 2 :]


def held_figures(
    held: Sequence[Row], file_bytes: int, cpu_share_max: float | None
) -> dict[str, float | None]:
    """The figures of a stretch. A transfer is a file's worth of bytes: the stretch cuts some."""
    if len(held) < 2:
        names = "cpu_ms_per_transfer cpu_share quota_share throttled_share beside_share"
        return {"held_s": 0.0, **dict.fromkeys([*names.split(), "megabits_per_s"])}
    first, last = held[0], held[-1]
    seconds = last["second"] - first["second"]
    cpu_s = last["cpu_s"] - first["cpu_s"]
    bytes_sent = last["bytes"] - first["bytes"]
    periods = last["periods"] - first["periods"]
    throttled = last["throttled_periods"] - first["throttled_periods"]
    return {
        "held_s": seconds,
        "cpu_ms_per_transfer": cpu_s * 1000 * file_bytes / bytes_sent if bytes_sent else None,
        "cpu_share": cpu_s / seconds,
        "quota_share": cpu_s / seconds / cpu_share_max if cpu_share_max else None,
        "throttled_share": throttled / periods if periods else None,
        "beside_share": max(0.0, busy_s(first, last) - cpu_s) / seconds,
        "megabits_per_s": bytes_sent * 8 / 1e6 / seconds,
    }


def busy_s(first: Row, last: Row) -> float:
    """Seconds that the core did not idle between two rows; another guest's (steal) not counted."""
    growth = {name: last["core"][name] - first["core"][name] for name in first["core"]}
    idle = growth.get("idle", 0) + growth.get("iowait", 0) + growth.get("steal", 0)
    busy_ticks: int = sum(growth.values()) - idle
    return busy_ticks / TICKS_PER_S
