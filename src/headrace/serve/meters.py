"""What all workers count, in memory that they share.

Decision.  One anonymous shared mapping, made before the workers are forked; in it a row of 64-bit
numbers for each worker.  A worker writes its own row only, and everybody reads all: no lock, and no
lost count.  An aligned 64-bit store is one store, so that a reader sees the old or the new number.
"""

from __future__ import annotations

import enum
import mmap
import os

from headrace.serve.sketch import Connections, Failures

__all__ = ["GAUGES", "Meter", "Meters"]

NUMBER_BYTES = 8


class Meter(enum.IntEnum):
    """What is counted; the value is its place in a row."""

    PID = 0
    """Of the worker; 0: there is none."""
    STARTED_S = enum.auto()
    """When it began, in seconds since 1970."""
    CLIENTS = enum.auto()
    """Control connections and HTTP connections, now."""
    FTP_SESSIONS = enum.auto()
    HTTP_SESSIONS = enum.auto()
    TLS_SESSIONS = enum.auto()
    LOGGED_IN = enum.auto()
    SENDING = enum.auto()
    """Downloads that run now."""
    RECEIVING = enum.auto()
    JOBS = enum.auto()
    """Passwords, listings and hashes that are worked at, or wait for it."""
    CONNECTIONS = enum.auto()
    """From here on counted since the start, and never less."""
    REFUSED = enum.auto()
    LOGINS = enum.auto()
    LOGINS_FAILED = enum.auto()
    COMMANDS = enum.auto()
    REQUESTS = enum.auto()
    FILES_SENT = enum.auto()
    FILES_RECEIVED = enum.auto()
    TRANSFERS_FAILED = enum.auto()
    BYTES_SENT = enum.auto()
    BYTES_RECEIVED = enum.auto()
    LISTINGS = enum.auto()
    TIMEOUTS = enum.auto()
    ERRORS = enum.auto()
    """Exceptions that were nobody's fault but ours."""


GAUGES = tuple(meter for meter in Meter if meter < Meter.CONNECTIONS)
"""Those of now: a worker's begin at nothing, while the others go on from its forerunner's."""
ROW = 32
"""Numbers in a row; some to spare, and a whole number of cache lines."""
assert len(Meter) <= ROW
assert ROW * NUMBER_BYTES % 64 == 0


class Meters:
    """Numbers of all workers; make it before the fork, then `begin` in each worker.

    Not for two threads at once in one worker; reading is for everybody.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._worker = 0
        self._connections = Connections(workers)
        self._failures = Failures(workers)
        numbers = memoryview(mmap.mmap(-1, workers * ROW * NUMBER_BYTES)).cast("q")
        self._rows = [numbers[at * ROW : (at + 1) * ROW] for at in range(workers)]
        self._row = self._rows[0]

    def __repr__(self) -> str:
        clients = self.total(Meter.FTP_SESSIONS) + self.total(Meter.HTTP_SESSIONS)
        return f"<Meters worker {self._worker} of {self.workers}, {clients} clients>"

    def begin(self, worker: int, started_s: float = 0.0) -> None:
        """This process is that worker, from 0, from now on; nobody is connected to it yet."""
        self._worker = worker
        self._row = self._rows[worker]
        self.end(worker)
        self._row[Meter.PID] = os.getpid()
        self._row[Meter.STARTED_S] = int(started_s)

    def end(self, worker: int) -> None:
        """That worker has gone, and with it all who were connected to it; the master says so."""
        row = self._rows[worker]
        for gauge in GAUGES:
            row[gauge] = 0
        self._connections.clear(worker)

    def add(self, meter: Meter, amount: int = 1) -> None:
        """Of this worker."""
        self._row[meter] += amount

    def get(self, meter: Meter) -> int:
        """This worker's number."""
        return self._row[meter]

    def total(self, meter: Meter) -> int:
        """All workers' numbers, added; PID and STARTED_S have no sum."""
        return sum(row[meter] for row in self._rows)

    def elsewhere(self, meter: Meter) -> int:
        """The other workers' numbers, added."""
        return self.total(meter) - self._row[meter]

    def of_worker(self, worker: int) -> dict[Meter, int]:
        """All numbers of one worker."""
        row = self._rows[worker]
        return {meter: row[meter] for meter in Meter}

    # By address: what the gate needs to know of all workers.

    def count_address(self, key: str, amount: int) -> None:
        """So many connections of that address more, or less, in this worker."""
        if self.workers > 1:  # else nobody asks
            self._connections.add(self._worker, key, amount)

    def address_elsewhere(self, key: str) -> int:
        """How many connections that address has in the other workers; never too few."""
        return self._connections.elsewhere(self._worker, key) if self.workers > 1 else 0

    def count_failure(self, key: str, now_s: float, while_s: float) -> None:
        """That address has failed to log in, in this worker."""
        self._failures.add(self._worker, key, now_s, while_s)

    def failures(self, key: str, now_s: float, while_s: float) -> int:
        """How often it has, in all workers, with no pause of ``while_s``; never too few."""
        return self._failures.count(key, now_s, while_s)
