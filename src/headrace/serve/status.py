"""The figures of all workers: for the status page, and as metrics that Prometheus reads.

Each worker reports once a second (`Reporter`), and answers for all (`Gatherer`), whichever of them
is asked.  Counts are those of `Meters`; rates are of the last few seconds.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.serve.board import Board
from headrace.serve.http.figures import Status, TransferStatus, WorkerStatus
from headrace.serve.meters import GAUGES, Meter

if TYPE_CHECKING:
    from headrace.serve.ftp.transfer import Transfer
    from headrace.serve.site import Site
    from headrace.serve.worker import Worker

__all__ = ["REPORT_S", "Gatherer", "Reporter"]

REPORT_S = 1.0
# Rates are of so many reports.
REPORTS_KEPT = 5
# Of each worker; the page has room for some more.
TRANSFERS_SHOWN_MAX = 40
# A path and a name are cut to this, so that a report fits into its slot.
TEXT_CHARACTERS_MAX = 80
PREFIX = "headrace_"
HELP = {
    Meter.PID: "Process id of the worker.",
    Meter.STARTED_S: "When the worker began, in seconds since 1970.",
    Meter.CLIENTS: "Control connections and HTTP connections now.",
    Meter.FTP_SESSIONS: "FTP sessions now.",
    Meter.HTTP_SESSIONS: "HTTP connections now.",
    Meter.TLS_SESSIONS: "Connections that are encrypted now.",
    Meter.LOGGED_IN: "FTP sessions that are logged in now.",
    Meter.SENDING: "Downloads that run now.",
    Meter.RECEIVING: "Uploads that run now.",
    Meter.JOBS: "Passwords, listings and hashes that are worked at, or wait for it.",
    Meter.CONNECTIONS: "Connections that came.",
    Meter.REFUSED: "Connections that were refused.",
    Meter.LOGINS: "Logins.",
    Meter.LOGINS_FAILED: "Logins that failed.",
    Meter.COMMANDS: "FTP commands answered.",
    Meter.REQUESTS: "HTTP requests answered.",
    Meter.FILES_SENT: "Files sent whole.",
    Meter.FILES_RECEIVED: "Files received whole.",
    Meter.TRANSFERS_FAILED: "Transfers that broke off.",
    Meter.BYTES_SENT: "Bytes of files sent.",
    Meter.BYTES_RECEIVED: "Bytes of files received.",
    Meter.LISTINGS: "Folders listed.",
    Meter.TIMEOUTS: "Connections and transfers that were ended because they took too long.",
    Meter.ERRORS: "Mistakes of the server itself.",
}
# Prometheus wants a unit's whole name.
NAMES = {Meter.STARTED_S: "start_time_seconds"}
REPORTED = {
    "cpu_share": "CPU time used lately, of one core.",
    "memory_bytes": "Resident memory.",
    "descriptors": "Open descriptors.",
}


class Reporter:
    """Says once a second how its worker is."""

    def __init__(self, worker: Worker, board: Board, number: int) -> None:
        self._worker = worker
        self._board = board
        self.number = number
        self._samples: collections.deque[tuple[float, float, float, float]] = collections.deque(
            maxlen=REPORTS_KEPT + 1
        )

    def report(self) -> None:
        """Write the slot; about 0.1 ms, and 50 ns for each transfer."""
        now = time.monotonic()
        meters = self._worker.site.meters
        sent, received = meters.get(Meter.BYTES_SENT), meters.get(Meter.BYTES_RECEIVED)
        for transfer in self._worker.transfers:
            if transfer.direction == "o":
                sent += transfer.done
            elif transfer.direction == "i":
                received += transfer.done
        sample = (now, time.process_time(), sent, received)
        before = self._samples[0] if self._samples else sample
        self._samples.append(sample)
        elapsed = max(now - before[0], REPORT_S)
        cpu, down, up = (
            max(0.0, each - old) / elapsed for each, old in zip(sample[1:], before[1:], strict=True)
        )
        oldest = list(itertools.islice(self._worker.transfers, TRANSFERS_SHOWN_MAX))
        said = {
            "model": getattr(self._worker.loop, "model", ""),
            "cpu_share": cpu,
            "sent_bytes_per_s": down,
            "received_bytes_per_s": up,
            "memory_bytes": memory_bytes(),
            "descriptors": descriptors(),
            "transfers": [describe(each, now) for each in oldest if each.direction]
            + self._over_http(TRANSFERS_SHOWN_MAX - len(oldest)),
        }
        if not self._board.write(self.number, said):
            self._board.write(self.number, {**said, "transfers": []})

    def _over_http(self, count_max: int) -> list[list[Any]]:
        """The same of HTTP's; about 0.1 us for each session that transfers nothing."""
        now = self._worker.loop.time()
        told = (session.transfer_status(now) for session in self._worker.http_sessions)
        found = itertools.islice((each for each in told if each is not None), count_max)
        return [
            [each[:TEXT_CHARACTERS_MAX] if isinstance(each, str) else each for each in values]
            for values in map(dataclasses.astuple, found)
        ]


def describe(transfer: Transfer, now: float) -> list[Any]:
    """The fields of TransferStatus, in their order."""
    age_s = now - transfer.progress.began_s
    return [
        "FTPS" if transfer.session.protects_data() else "FTP",
        "down" if transfer.direction == "o" else "up",
        (transfer.user.name if transfer.user else "")[:TEXT_CHARACTERS_MAX],
        transfer.session.address,
        transfer.path[:TEXT_CHARACTERS_MAX],
        transfer.done,
        transfer.size_bytes(),
        transfer.done / age_s if age_s > 0 else 0.0,
        age_s,
    ]


def memory_bytes() -> int:
    """Resident, of this process."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError):
        return 0


def descriptors() -> int:
    """Open ones, of this process; 0 where the kernel does not say it at once (before Linux 6.2)."""
    try:
        return os.stat("/proc/self/fd").st_size
    except OSError:
        return 0


class Gatherer:
    """Answers for all workers; may be called from any thread."""

    def __init__(self, site: Site, board: Board, addresses: tuple[str, ...] = ()) -> None:
        self._site = site
        self._board = board
        self._addresses = addresses
        self._began_s = time.time()

    def status(self) -> Status:
        """For the page."""
        now_s = time.time()
        workers, transfers = [], []
        for number in range(self._site.meters.workers):
            counts = self._site.meters.of_worker(number)
            said = self._board.read(number)
            transfers += [TransferStatus(*each) for each in said.pop("transfers", ())]
            workers.append(worker_status(number, counts, said, now_s))
        transfers.sort(key=lambda each: -each.age_s)
        return Status(
            now_s,
            now_s - self._began_s,
            self._site.settings.limits.clients_max,
            tuple(workers),
            tuple(transfers),
            self._board.restarts,
            self._addresses,
        )

    def metrics(self) -> str:
        """Prometheus' text format, version 0.0.4."""
        families = []
        counts = [self._site.meters.of_worker(at) for at in range(self._site.meters.workers)]
        for meter, explained in HELP.items():
            kind = "gauge" if meter in GAUGES else "counter"
            name = NAMES.get(meter, meter.name.lower()) + ("_total" if kind == "counter" else "")
            families.append(family(name, kind, explained, [row[meter] for row in counts]))
        said = [self._board.read(at) for at in range(self._board.workers)]
        for key, explained in REPORTED.items():
            families.append(family(key, "gauge", explained, [each.get(key, 0) for each in said]))
        name = f"{PREFIX}worker_restarts_total"
        families.append(
            f"# HELP {name} Workers that were replaced.\n# TYPE {name} counter\n"
            f"{name} {self._board.restarts}\n"
        )
        return "".join(families)


def family(name: str, kind: str, explained: str, values: Sequence[float]) -> str:
    """A metric of each worker."""
    name = PREFIX + name
    lines = [f"# HELP {name} {explained}", f"# TYPE {name} {kind}"]
    lines += [f'{name}{{worker="{at}"}} {value}' for at, value in enumerate(values)]
    return "\n".join(lines) + "\n"


def worker_status(
    number: int, counts: dict[Meter, int], said: dict[str, Any], now_s: float
) -> WorkerStatus:
    started_s = counts[Meter.STARTED_S]
    return WorkerStatus(
        number=number,
        pid=counts[Meter.PID],
        model=said.get("model", ""),
        age_s=now_s - started_s if started_s else 0.0,
        ftp_clients=counts[Meter.FTP_SESSIONS],
        http_clients=counts[Meter.HTTP_SESSIONS],
        transfers=counts[Meter.SENDING] + counts[Meter.RECEIVING],
        requests=counts[Meter.REQUESTS],
        commands=counts[Meter.COMMANDS],
        files_sent=counts[Meter.FILES_SENT],
        files_received=counts[Meter.FILES_RECEIVED],
        sent_bytes=counts[Meter.BYTES_SENT],
        received_bytes=counts[Meter.BYTES_RECEIVED],
        sent_bytes_per_s=said.get("sent_bytes_per_s", 0.0),
        received_bytes_per_s=said.get("received_bytes_per_s", 0.0),
        cpu_share=said.get("cpu_share", 0.0),
        memory_bytes=said.get("memory_bytes", 0),
        descriptors=said.get("descriptors", 0),
        refused=counts[Meter.REFUSED],
        failed_logins=counts[Meter.LOGINS_FAILED],
    )
