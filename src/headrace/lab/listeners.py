"""Where a process tree listens: what to say when its URL does not answer."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN of <net/tcp_states.h>
TABLES = {"/proc/net/tcp": socket.AF_INET, "/proc/net/tcp6": socket.AF_INET6}
SOCKET = "socket:["


def listening_addresses(pids: Iterable[int]) -> list[str]:
    """The TCP addresses on which these processes listen, as ``host:port``."""
    sockets = {inode for pid in pids for inode in socket_inodes(pid)}
    return sorted({address for inode, address in listeners() if inode in sockets})


def socket_inodes(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if link.startswith(SOCKET):
                    yield link[len(SOCKET) : -1]


def listeners() -> Iterator[tuple[str, str]]:
    """(inode, ``host:port``) of every listening TCP socket of this network namespace."""
    for table, family in TABLES.items():
        with contextlib.suppress(OSError):  # without IPv6 there is no second table
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN:
                    yield fields[9], readable(fields[1], family)


def readable(address: str, family: socket.AddressFamily) -> str:
    """The kernel's hexadecimal ``0100007F:1F90`` for people; its words are in host order."""
    host, port = address.split(":")
    words = bytes.fromhex(host)
    if sys.byteorder == "little":
        words = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    name = socket.inet_ntop(family, words)
    return f"[{name}]:{int(port, 16)}" if family == socket.AF_INET6 else f"{name}:{int(port, 16)}"
