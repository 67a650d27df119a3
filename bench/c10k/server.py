"""A peer that runs in the box: started, waited for, looked at once a second."""

from __future__ import annotations

import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from c10k import install
from c10k.box import Box
from c10k.peers import PEERS, PORT, Start, Wanted

READY_S_MAX = 20.0
LOG_BYTES_MAX = 4000
NETSTAT = ("ListenOverflows", "ListenDrops", "TCPTimeouts", "TCPSynRetrans", "TCPLossProbes")
SNMP = ("RetransSegs", "InSegs", "OutSegs", "AttemptFails", "PassiveOpens")


class ServerFailedError(Exception):
    """The peer did not start, or ended; with its last words."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    start: Start
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        return self.log.read_bytes()[-LOG_BYTES_MAX:].decode(errors="replace").strip()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def sockets(self) -> dict[str, int]:
        """The namespace's TCP sockets: in use, orphaned, waiting, and pages of all buffers."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/net/sockstat").read_text().splitlines():
                name, _, rest = line.partition(": ")
                words = rest.split()
                if name == "TCP":
                    return {words[at]: int(words[at + 1]) for at in range(0, len(words), 2)}
        return {}

    def counters(self) -> dict[str, int]:
        """What the namespace's TCP counted: dropped connections, retransmits, segments."""
        found: dict[str, int] = {}
        for name, wanted in (("netstat", NETSTAT), ("snmp", SNMP)):
            with suppress(OSError):
                lines = Path(f"/proc/{self.process.pid}/net/{name}").read_text().splitlines()
                for names, values in zip(lines[::2], lines[1::2], strict=True):
                    pairs = zip(names.split()[1:], values.split()[1:], strict=True)
                    found.update({key: int(value) for key, value in pairs if key in wanted})
        return found


@contextmanager
def running(name: str, box: Box, files: Path, wanted: Wanted) -> Iterator[Server]:
    """The peer, ready for clients; all its processes are ended afterwards.

    Raises:
        ServerFailedError: it ended, or greets nobody in time.
    """
    raise_descriptor_limit()
    start = PEERS[name](box, files, wanted)
    log = box.folder / f"{name}.log"
    process = box.start(start.command, {**install.variables(), **start.variables}, log)
    server = Server(name, start, process, log)
    try:
        wait_ready(server, box.address)
        yield server
    finally:
        box.end_processes()
        process.wait()


def raise_descriptor_limit() -> None:
    """As an administrator would; the server inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_ready(server: Server, address: str) -> None:
    until = time.monotonic() + READY_S_MAX
    greeting = b""
    while time.monotonic() < until:
        if server.has_ended():
            raise ServerFailedError(f"{server.name} ended: {server.last_words() or 'silently'}")
        with suppress(OSError), socket.create_connection((address, PORT), timeout=5) as client:
            greeting = client.recv(512)
            if greeting.startswith(b"220"):
                return
        time.sleep(0.05)
    words = greeting.decode(errors="replace").strip() or server.last_words() or "no words"
    raise ServerFailedError(f"{server.name} greets nobody: {words}")
