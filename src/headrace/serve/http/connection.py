"""The transport's side of an HTTP connection: how bytes go out, what time limits, how it ends.

Time is asked for by `check(now)`, which the worker calls for all sessions about once a second:
no timer for each.  What is waited for, and for how long:

* the end of the TLS handshake: `tls_handshake_timeout_s`, which the transport keeps;
* the first byte of a request: `keep_alive_timeout_s`; of the first one, `header_timeout_s`;
* the rest of a head: `header_timeout_s` from its first byte on, whatever drips in meanwhile;
* a body that comes in, a file that goes out: some byte in `stall_timeout_s`, and
  `rate_bytes_per_s_min` over each `rate_window_s`;
* the client who does not take small answers: `stall_timeout_s`;
* the peer's end, after ours: `LINGER_S_MAX`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from headrace.serve.http.answers import Answer
from headrace.serve.http.core import Fault
from headrace.serve.http.pace import Pace, Progress
from headrace.serve.http.sending import TURN_BYTES_MAX, Sending
from headrace.serve.logs import GONE, reason_of
from headrace.serve.meters import Meter
from headrace.serve.send_buffer import lift_if_fast, limit_send_buffer

if TYPE_CHECKING:
    from headrace.serve.site import Site

# RFC 9112 section 9.6: after the last answer a server should read on for a while before it closes;
# a reset would take the answer from the client's hands.
LINGER_S_MAX = 5.0
LINGER_BYTES_MAX = 16 * 1024 * 1024
# <linux/sockios.h>: bytes of the send queue that the peer has not acknowledged.
SIOCOUTQ = 0x5411
# Closing with this (on, no seconds) is a reset: the kernel keeps nothing for the peer.
RESET = struct.pack("ii", 1, 0)

# What the connection is about: requests and bodies are read; a thread works, or a file is sent;
# the last answer has been given, and we wait for the peer, or for the transport; over; and, before
# all that, TLS begins.
READING, WORKING, SENDING, LINGERING, CLOSING, CLOSED, SHAKING_HANDS = range(7)
STATES = ("reading", "working", "sending", "lingering", "closing", "closed", "shaking hands")


class Connection(asyncio.Protocol):
    """What does not depend on what is asked for."""

    __slots__ = (
        "_address", "_eof", "_in_head", "_is_lifted", "_loop", "_pace", "_paused", "_progress",
        "_received_bytes", "_requests", "_send_buffer_bytes", "_sending", "_since_s", "_site",
        "_state", "_tls", "_transport", "_unsent_bytes", "_unwanted_bytes", "_why_ended",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self._site = site
        self._state = CLOSED
        self._transport: Any = None
        self._loop: Any = None
        self._address = ""
        self._tls = self._eof = self._paused = self._in_head = False
        self._since_s = 0.0
        self._requests = self._received_bytes = self._unwanted_bytes = self._unsent_bytes = 0
        self._send_buffer_bytes = 0  # as the kernel's own measure
        self._is_lifted = False
        self._sending: Sending | None = None
        self._progress: Progress | None = None
        self._pace: Pace | None = None
        self._why_ended = GONE  # what the log says of a transfer that ends with the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        self._tls = transport.get_extra_info("sslcontext") is not None
        self._since_s = self._loop.time()
        self._state = READING

    # What the session above does.

    def _advance(self) -> None:
        """Work at what was received."""
        raise NotImplementedError

    def _answered(self) -> None:
        """The transport, or the kernel, has the whole answer."""
        raise NotImplementedError

    def _record_sent(self, *, complete: bool) -> None:
        """A file was sent, or not all of it, for `_why_ended`."""
        raise NotImplementedError

    def _fault(self, fault: Fault) -> None:
        """Tell the peer its mistake, and end."""
        raise NotImplementedError

    # Time.

    def check(self, now: float) -> None:
        """End what takes too long; *now* is the loop's time."""
        state, waited_s = self._state, now - self._since_s
        if state == READING:
            self._check_reading(now, waited_s)
        elif state == SENDING:
            self._check_sending(now)
        elif state == LINGERING and waited_s >= LINGER_S_MAX:
            self.abort()
        elif state == CLOSING:
            self._check_taking(now)

    def _check_reading(self, now: float, waited_s: float) -> None:
        limits = self._site.settings.limits
        if self._paused:
            self._check_taking(now)
        elif self._pace is not None and self._pace.waits:
            pass  # it is we who do not read
        elif self._progress is not None:
            if self._progress.too_slow(now, self._received_bytes, limits):
                self._fault(Fault(408, "the body comes too slowly"))
        elif self._in_head:
            if waited_s >= limits.header_timeout_s:
                self._fault(Fault(408, "the request takes too long"))
        elif waited_s >= (
            limits.keep_alive_timeout_s if self._requests else limits.header_timeout_s
        ):
            self._close()

    def _check_sending(self, now: float) -> None:
        progress, sending, limits = self._progress, self._sending, self._site.settings.limits
        if progress is None or sending is None or not progress.is_due(now, limits):
            return
        if progress.too_slow(now, sending.sent_bytes - self._unsent(), limits):
            self._time_out()

    def _check_taking(self, now: float) -> None:
        """Is what was written taken, if slowly?"""
        unsent = self._unsent()
        if unsent != self._unsent_bytes:
            self._unsent_bytes, self._since_s = unsent, now
        elif now - self._since_s >= self._site.settings.limits.stall_timeout_s:
            self._time_out()

    def _unsent(self) -> int:
        """Bytes that are written, and that the peer does not have yet.

        The kernel's own are the most: a slow client takes minutes for them, during which nothing
        more is sent, and is no client that takes nothing.
        """
        try:
            fd = self._transport.get_extra_info("socket").fileno()
            queued = int.from_bytes(fcntl.ioctl(fd, SIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, AttributeError, ValueError):
            queued = 0
        return queued + int(self._transport.get_write_buffer_size())

    def _time_out(self) -> None:
        self._site.meters.add(Meter.TIMEOUTS)
        self._site.log.event("http_too_slow", address=self._address, state=STATES[self._state])
        self._why_ended = "stalled"
        self.abort()

    # Sending.

    def _send_out(self, head: bytes, answer: Answer, rate_bytes_per_s_max: int | None) -> None:
        """The answer, at once where it is small; _answered() follows."""
        sending = self._sending = Sending(self._transport, answer, direct=not self._tls)
        try:
            whole = sending.begin(head)
            self._count_sent(sending, 0)
            if whole:
                if answer.fd >= 0:
                    self._record_sent(complete=True)
                    answer.close()
                self._sending = None
                self._sent()
                return
        except OSError as error:
            self._why_ended = reason_of(error)
            self._record_sent(complete=False)
            sending.close()
            self._sending = None
            self._sending_failed(error)
            return
        self._limit_kernel()
        now = sending.began_s = self._loop.time()
        self._state = SENDING
        self._progress = Progress(now)
        self._pace = Pace(rate_bytes_per_s_max, now) if rate_bytes_per_s_max else None
        self._site.meters.add(Meter.SENDING)
        self._transport.set_write_buffer_limits(0)
        self._pump()

    def _limit_kernel(self) -> None:
        """What the kernel holds of one transfer is memory that a slow client takes from others."""
        limits = self._site.settings.limits
        if limits.send_buffer_bytes != self._send_buffer_bytes:
            self._send_buffer_bytes = limits.send_buffer_bytes
            self._is_lifted = False
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):  # it is closed already
                    limit_send_buffer(sock, limits)

    def _lift_limit(self, sending: Sending) -> None:
        """But not from one who is fast; the connection has shown that once and for all."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            limits = self._site.settings.limits
            self._is_lifted = lift_if_fast(sock, limits, sending.sent_bytes, sending.began_s)

    def _pump_on(self) -> None:
        """From the loop: _pump() itself must not begin the next answer, which could pump again."""
        self._pump()
        if self._state == READING:
            self._advance()

    def _pump(self) -> None:
        sending = self._sending
        if self._state != SENDING or sending is None:
            return
        pace = self._pace
        before = sending.sent_bytes
        try:
            done = sending.pump(TURN_BYTES_MAX if pace is None else pace.turn_bytes)
        except OSError as error:
            self._sending_failed(error)
            return
        self._count_sent(sending, before)
        if done:
            self._site.meters.add(Meter.SENDING, -1)
            self._transport.set_write_buffer_limits()
            self._record_sent(complete=True)
            sending.close()
            self._sending = self._progress = self._pace = None
            self._sent()
        elif pace is not None and sending.sent_bytes > before:
            pace.waits = True
            pause_s = pace.spend(sending.sent_bytes - before, self._loop.time())
            self._loop.call_later(pause_s, self._pump_in_time)
        elif done is None:
            self._loop.call_soon(self._pump_on)
        elif not self._is_lifted:
            self._lift_limit(sending)

    def _pump_in_time(self) -> None:
        if self._pace is not None:
            self._pace.waits = False
        self._pump_on()

    def _count_sent(self, sending: Sending, before: int) -> None:
        """At once, not at the end: rates are made of it."""
        if sending.path:
            self._site.meters.add(Meter.BYTES_SENT, sending.sent_bytes - before)

    def _sending_failed(self, error: OSError) -> None:
        """What was promised cannot be kept: only the connection's end tells the client so."""
        self._site.log.event("http_error", address=self._address, error=str(error))
        self._why_ended = reason_of(error)
        self.abort()

    def _sent(self) -> None:
        self._since_s = self._loop.time()
        self._state = READING
        self._answered()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        """In the next turn: TLS transports call this from within write(), in the midst of ours."""
        self._paused = False
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._state == SENDING:
            if self._pace is None or not self._pace.waits:
                self._pump_on()
        elif self._state == READING:
            self._since_s = self._loop.time()
            self._advance()

    # The end.

    def _close(self) -> None:
        """What was written is still sent."""
        self._state = CLOSING
        self._since_s = self._loop.time()
        self._transport.close()

    def _linger(self) -> None:
        """Say that nothing more comes, and let the peer finish what it is saying."""
        if self._tls or self._eof or self._transport.is_closing():
            self._close()
            return
        self._state = LINGERING
        self._since_s = self._loop.time()
        self._unwanted_bytes = 0
        self._transport.write_eof()
        if not self._transport.is_reading():
            self._transport.resume_reading()

    def abort(self) -> None:
        """The end, at once: nothing more is sent, and the kernel keeps nothing for the peer.

        Nor is any further request carried out, though it has come already.  What a thread has in
        hand stays with it: _thread_ended() sees that the connection has gone.
        """
        if self._state == CLOSED or self._transport is None:
            return
        if self._state != WORKING:
            self._state = CLOSING
        if self._why_ended == GONE:
            self._why_ended = "session_ended"  # by us, and not by the client
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()
