"""What the status page shows: plain figures, gathered by who runs the workers.

All workers' figures stand side by side; the page adds them up.  Rates are of the last few seconds,
totals since the worker began.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """A file on its way."""

    protocol: str  # "FTP", "FTPS", "HTTP" or "HTTPS"
    direction: str  # "down" to the client, "up" from it
    user: str
    address: str
    path: str  # virtual
    done_bytes: int
    size_bytes: int | None  # None: not known, as of most uploads
    rate_bytes_per_s: float
    age_s: float


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One process."""

    number: int
    pid: int
    model: str  # the I/O model of its loop
    age_s: float
    ftp_clients: int = 0
    http_clients: int = 0
    transfers: int = 0
    requests: int = 0  # HTTP requests answered
    commands: int = 0  # FTP commands answered
    files_sent: int = 0
    files_received: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    sent_bytes_per_s: float = 0.0
    received_bytes_per_s: float = 0.0
    cpu_share: float = 0.0  # of one core
    memory_bytes: int = 0
    descriptors: int = 0
    refused: int = 0  # connections, by the gate
    failed_logins: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The whole server at one moment."""

    now_s: float  # since 1970
    age_s: float
    clients_max: int
    workers: tuple[WorkerStatus, ...] = ()
    transfers: tuple[TransferStatus, ...] = ()  # some, the oldest first
    restarts: int = 0  # workers replaced since the start
    addresses: tuple[str, ...] = field(default=())  # "ftp://0.0.0.0:2121", ...
