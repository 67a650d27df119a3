"""The figures by name: what a table calls them, and with how many digits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    title: str
    digits: int
    meaning: str

    def text(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


COLUMNS = {
    "syscalls": Column("calls", 3, "system calls of the server per request, counted by the kernel"),
    "cpu_us": Column(
        "CPU µs", 2, "user and system time of the server per request, by its CPU clock"
    ),
    "requests_per_s": Column("per s", 0, "requests answered per second, closed loop"),
    "p50_us": Column("p50 µs", 1, "half of the requests were answered within this"),
    "p99_us": Column("p99 µs", 1, "99 of 100 were"),
    "p999_us": Column("p99.9 µs", 1, "999 of 1,000 were"),
    "ns": Column("ns", 0, "nanoseconds of wall time per operation"),
    "cpu_ns": Column("CPU ns", 0, "nanoseconds of CPU time per operation, all threads"),
    "us": Column("µs", 2, "microseconds of wall time per operation"),
    "instructions": Column("instructions", 0, "per operation, counted by valgrind"),
    "silent_bytes": Column("silent, B", 0, "resident bytes per connection that never spoke"),
    "echo_bytes": Column("after echo, B", 0, "the same after one message there and back"),
    "ms": Column("ms", 1, "milliseconds until the last of all is served"),
}
