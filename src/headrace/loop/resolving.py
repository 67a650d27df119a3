"""Addresses that are numbers already: answered at once, without a thread.

Fact.  getaddrinfo(3) may ask a name server, so asyncio has a thread do it: 28 to 77 us for what
takes 4 us where the host is a number.  With AI_NUMERICHOST and AI_NUMERICSERV it asks nobody and
opens no file, and its answer is the same; what is no number is refused, and goes the usual way.
"""

from __future__ import annotations

import socket
from typing import Any

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
plain_getaddrinfo = socket.getaddrinfo


def numeric_addresses(
    host: Any, port: Any, family: int, kind: int, proto: int, flags: int
) -> list[Any] | None:
    """What socket.getaddrinfo() answers, or None: then somebody may have to be asked.

    None also where a program has put a function of its own in that one's place: it may block.
    """
    if socket.getaddrinfo is not plain_getaddrinfo:
        return None
    try:
        return plain_getaddrinfo(host, port, family, kind, proto, flags | NUMERIC)
    except OSError:
        return None  # no number, or an error that the usual way has as well
