"""Who may come in: how many at once, and how often somebody may try a password.

Addresses are counted by /64 for IPv6, because a customer has that many to choose from (RFC 6177),
and one by one for IPv4.  IPv4 addresses that an IPv6 socket maps count as what they are.

Limits hold over all workers, by what they share (`headrace.serve.meters`), whose memory does not
grow with the addresses.

A login that succeeds forgets no failure: else whoever has one account tries others' passwords for
as long as he likes.  Who is locked out may still come in, without a name or to be told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from headrace.serve.limits import Limits
from headrace.serve.meters import Meter, Meters

__all__ = ["TOO_MANY_CLIENTS", "TOO_MANY_OF_ADDRESS", "Gate", "address_key"]

DELAY_S_FIRST = 1.0
"""Before the answer to the first failure; doubled with each."""
DOUBLINGS_MAX = 30
TOO_MANY_CLIENTS = "too many clients"
TOO_MANY_OF_ADDRESS = "too many connections from your address"


class Gate:
    """Counts connections and failures; one for each process.  Not for two threads at once.

    Args:
        limits: clients_max, clients_per_address_max, login_failures_max, login_lockout_s,
            login_delay_s_max.
        now: seconds that never go back, the same in all processes.
        meters: what all workers share; None: this is the only one.
    """

    def __init__(
        self, limits: Limits, now: Callable[[], float], meters: Meters | None = None
    ) -> None:
        self.limits = limits
        self.clients = 0
        self._now = now
        self._meters = meters or Meters()
        self._clients_of: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Gate clients={self.clients} addresses={len(self._clients_of)}>"

    def admit(self, address: str) -> str | None:
        """None: come in, and `release` must follow.  Else why not, for the log and the client."""
        key = address_key(address)
        limits, meters = self.limits, self._meters
        elsewhere = meters.elsewhere(Meter.FTP_SESSIONS) + meters.elsewhere(Meter.HTTP_SESSIONS)
        if self.clients + elsewhere >= limits.clients_max:
            return TOO_MANY_CLIENTS
        here = self._clients_of.get(key, 0)
        if here + meters.address_elsewhere(key) >= limits.clients_per_address_max:
            return TOO_MANY_OF_ADDRESS
        self._clients_of[key] = here + 1
        self.clients += 1
        meters.count_address(key, 1)
        return None

    def release(self, address: str) -> None:
        """Somebody who was admitted has gone."""
        key = address_key(address)
        here = self._clients_of[key] - 1
        if here:
            self._clients_of[key] = here
        else:
            del self._clients_of[key]
        self.clients -= 1
        self._meters.count_address(key, -1)

    def login_failed(self, address: str) -> float:
        """Count it; answers the seconds to wait before the client is told."""
        key, now_s, while_s = address_key(address), self._now(), self.limits.login_lockout_s
        self._meters.count_failure(key, now_s, while_s)
        failures = max(self._meters.failures(key, now_s, while_s), 1)
        doublings = min(failures - 1, DOUBLINGS_MAX)
        return min(DELAY_S_FIRST * 2.0**doublings, self.limits.login_delay_s_max)

    def login_refused(self, address: str) -> bool:
        """Whether there were too many failures of late: then no password is looked at."""
        failures = self._meters.failures(
            address_key(address), self._now(), self.limits.login_lockout_s
        )
        return failures >= self.limits.login_failures_max

    def lockout_begins(self, address: str) -> bool:
        """Whether the failure that was counted just now is the one that locks the address out."""
        failures = self._meters.failures(
            address_key(address), self._now(), self.limits.login_lockout_s
        )
        return failures == self.limits.login_failures_max


def address_key(address: str) -> str:
    """An address as it is counted: IPv4 itself, IPv6 by its /64; what is no address, itself."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"
