"""Every limit of the file server: its name with its unit, its default, and what is allowed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from headrace.serve.sizes import parse_bytes

__all__ = ["BadLimit", "Limits", "limit_names", "make_limits"]

KiB = 2**10
MiB = 2**20
GiB = 2**30
DAY_S = 86_400


class BadLimit(ValueError):
    """A limit that does not exist, or a value that it cannot have; in one line."""


def _limit(default: float | None, low: float, high: float) -> Any:
    """``default`` None: no limit, which TOML writes as 0 and the command line as ``off``, too."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take.  Read when it is needed, so that a reload counts from then on.

    Those that may be None mean "no limit" then.  Counts over all workers say so; the others are for
    one connection or for one worker.
    """

    # Who comes in
    clients_max: int = _limit(10_000, 1, 10_000_000)
    """Control connections and HTTP connections at once, over all workers."""
    clients_per_address_max: int = _limit(200, 1, 10_000_000)
    """The same from one IPv4 address or IPv6 /64, over all workers."""
    backlog_max: int = _limit(4096, 1, 65_535)
    """Connections that the kernel keeps until they are accepted, for each port and worker."""

    # Logging in
    login_timeout_s: float = _limit(60.0, 0.1, DAY_S)
    """From the connection to the login, TLS handshake included."""
    login_attempts_max: int = _limit(3, 1, 1000)
    """Failures after which the connection is closed."""
    login_failures_max: int = _limit(10, 1, 1_000_000)
    """Failures of one address after which its passwords are not looked at, in each worker."""
    login_lockout_s: float = _limit(900.0, 0.0, 30 * DAY_S)
    """How long after the latest of them."""
    login_delay_s_max: float = _limit(16.0, 0.0, 3600.0)
    """The answer to a failure takes 1 s, then 2, 4 and so on, up to this."""

    # Waiting
    tls_handshake_timeout_s: float = _limit(20.0, 0.1, DAY_S)
    idle_timeout_s: float = _limit(300.0, 0.1, 30 * DAY_S)
    """FTP: between commands, while nothing is transferred."""
    data_connection_timeout_s: float = _limit(30.0, 0.1, DAY_S)
    """FTP: from the reply until the data connection is there."""
    stall_timeout_s: float = _limit(60.0, 0.1, DAY_S)
    """A transfer or a reply of which not one byte moves."""
    header_timeout_s: float = _limit(20.0, 0.1, DAY_S)
    """HTTP: from the first byte of a request to the end of its header."""
    keep_alive_timeout_s: float = _limit(75.0, 0.1, DAY_S)
    """HTTP: between requests."""
    drain_timeout_s: float = _limit(300.0, 0.0, 30 * DAY_S)
    """After SIGTERM: how long running transfers may take to end."""
    worker_silence_timeout_s: float | None = _limit(60.0, 2.0, DAY_S)
    """A worker whose loop has not come round once: it has hung, and is replaced."""

    # Rates, of one transfer
    rate_bytes_per_s_min: int | None = _limit(64, 1, 1024 * GiB)
    """Slower for `rate_window_s`: the transfer is ended."""
    rate_window_s: float = _limit(60.0, 1.0, DAY_S)
    rate_bytes_per_s_max: int | None = _limit(None, 1, 1024 * GiB)
    """Never faster; a user's own line may say less."""

    # Sizes
    line_bytes_max: int = _limit(8 * KiB, 512, MiB)
    """FTP: a command line.  HTTP: the request line."""
    commands_queued_max: int = _limit(32, 1, 10_000)
    """FTP commands, or HTTP requests, that came before the reply to an earlier one."""
    head_bytes_max: int = _limit(32 * KiB, KiB, MiB)
    """HTTP: request line and header together."""
    fields_max: int = _limit(100, 10, 10_000)
    """HTTP: lines in a header."""
    pattern_stars_max: int = _limit(8, 0, 100)
    """FTP: wildcards in a pattern to list."""
    listing_entries_max: int = _limit(50_000, 1, 10_000_000)
    """Names in a folder that can still be listed."""
    listings_bytes_max: int = _limit(64 * MiB, 64 * KiB, 64 * GiB)
    """FTP: listings that clients have not taken yet, in each worker; small ones, and one that is
    alone, are not refused."""
    upload_bytes_max: int | None = _limit(None, 1, 2**60)
    """One uploaded file, with what it goes on behind (REST, APPE)."""
    hash_bytes_max: int | None = _limit(4 * GiB, 1, 2**60)
    """A file that HASH, XCRC and their kin read."""
    send_buffer_bytes: int = _limit(128 * KiB, 4 * KiB, 64 * MiB)
    """What the kernel may hold of one transfer: memory against wake-ups."""
    lingering_max: int = _limit(1000, 1, 1_000_000)
    """FTP: data connections with everything sent and not everything taken, whose session has gone
    or gone on, in each worker; one more, and the oldest is reset."""

    # Threads, of one worker
    threads_max: int = _limit(8, 1, 256)
    """Listings and the like that are worked at together; as many passwords; of digests two."""
    jobs_queued_max: int = _limit(256, 1, 100_000)
    """Those that wait for it; more are refused as busy."""


def limit_names() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Limits))


def make_limits(values: dict[str, object]) -> Limits:
    """Limits with some of their own values.

    Raises:
        BadLimit: there is no such limit, or it cannot have that value.
    """
    known = {field.name: field for field in dataclasses.fields(Limits)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise BadLimit(f"{name}: there is no such limit")
        checked[name] = _checked(known[name], value)
    return Limits(**checked)


def _checked(field: dataclasses.Field[Any], value: object) -> float | None:
    optional = "None" in str(field.type)
    if optional and (value is None or value in (0, "off", "none")) and value is not False:
        return None
    whole = "int" in str(field.type)
    number = _number(value, whole, "_bytes" in field.name)
    low, high = field.metadata["low"], field.metadata["high"]
    if number is None or not low <= number <= high:
        kind = "whole number" if whole else "number"
        off = ", or off" if optional else ""
        raise BadLimit(f"{field.name}: {value!r} is not a {kind} from {low:,} to {high:,}{off}")
    return number


def _number(value: object, whole: bool, of_bytes: bool) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            if of_bytes and value[-1:].isalpha():
                value = parse_bytes(value)
            value = int(value) if whole else float(value)
        except ValueError:
            return None
    if isinstance(value, int):
        return value if whole else float(value)
    if isinstance(value, float) and math.isfinite(value) and not whole:
        return value
    return None
