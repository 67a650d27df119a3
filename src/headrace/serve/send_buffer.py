"""How much the kernel holds of what is sent: little for the slow, what the line needs for the fast.

Facts.  SO_SNDBUF bounds what waits for a slow client, and turns the kernel's own measure off
(tcp(7)): no more than that is on its way at any time, which on a line of 100 ms is 2 MB/s.  What
is not sent yet can be bounded by itself (TCP_NOTSENT_LOWAT); but then the buffer begins small, and
a slow client of a large file wakes the server several times as often.

Decision.  All begin with the bound.  Who has taken some times as much, not slowly, gets the
kernel's measure back (SO_BUF_LOCK, from Linux 5.14 on), with a larger bound of what is unsent.
"""

from __future__ import annotations

import contextlib
import socket
import time

from headrace.serve.limits import Limits

__all__ = ["lift_if_fast", "limit_send_buffer"]

# <asm-generic/socket.h>
SO_BUF_LOCK = 72
TAKEN_TIMES = 4
"""Of the bound: so much must have gone before the rate says anything."""
UNSENT_TIMES = 8
"""Of the bound: what may wait for who is fast.  With once the bound a GB costs 0.45 s, with this
0.24 to 0.32, with no bound 0.23 (100 clients, 10 MB files); before anything was lifted, 0.40."""
FAST_BYTES_PER_S = 64 * 1024
"""What the bound lets through on a line of two seconds."""


def limit_send_buffer(sock: socket.socket, limits: Limits) -> None:
    """What the kernel holds for a client that does not read: without this, up to some MiB."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)


def lift_if_fast(sock: socket.socket, limits: Limits, sent_bytes: int, began_s: float) -> bool:
    """The buffer is full: whether that was the bound's last time, because the client is fast.

    Args:
        sent_bytes: what the kernel has taken of this transfer.
        began_s: when it began; time.monotonic()'s.
    """
    if sent_bytes < TAKEN_TIMES * limits.send_buffer_bytes:
        return False
    if sent_bytes < FAST_BYTES_PER_S * (time.monotonic() - began_s):
        return False
    with contextlib.suppress(OSError):  # an older kernel: as fast as the bound lets it be
        unsent_max = UNSENT_TIMES * limits.send_buffer_bytes
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_max)
        sock.setsockopt(socket.SOL_SOCKET, SO_BUF_LOCK, 0)
    return True
