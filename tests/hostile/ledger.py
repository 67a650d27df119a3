"""What both ends must have seen, worked out from the steps alone.

Nothing here has looked at a transport.  Stock asyncio is held against it as every model is: if
the ledger is wrong, the oracle fails.  Where two things race for good, the ledger knows less: a
count becomes a range, an error one of several.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from plan import LARGE_BYTES, SMALL_BYTES_MAX, WRITTEN_BYTES_MAX, Plan, Step

RESET = "ConnectionResetError"
# What a transport asks the kernel for at once.
RECEIVED_AT_ONCE_BYTES_MAX = 256 * 1024
# Whether the reset is met by a send or by a receive is a matter of timing.
ANY_CONNECTION_ERROR = "ConnectionError"
ANYTHING = "None or ConnectionError"


ENDS = ("close", "abort", "reset", "half_close")


@dataclass
class Range:
    """A count that is known, or that lies between two."""

    low: int = 0
    high: int = 0

    def __contains__(self, count: int) -> bool:
        return self.low <= count <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} - {self.high}"


@dataclass
class Side:
    keep_open: bool
    written: int = 0
    fresh: int = 0  # of it, since things were last settled
    untaken: int = 0  # of it, while the proxy does not read
    is_held: bool = False
    is_cut: bool = False  # the proxy drops what it has not read by now
    is_torn: bool = False  # nobody knows how much of what was written gets through
    passed: Range = field(default_factory=Range)  # to the other side's kernel
    certain: int = 0  # of it, when things were last settled
    received: Range = field(default_factory=Range)
    ending: str = ""  # what follows the last byte that comes in: eof, reset, or nothing yet
    armed: str = ""
    fired: int = 0  # times in a row that it has paused in the middle of what came
    is_more_certain: bool = False
    is_paused: bool = False
    has_sent_eof: bool = False
    has_seen_eof: bool = False
    is_closing: bool = False
    is_lost: bool = False
    error: str = ""
    reset_error: str = RESET
    was_blocked: bool = False  # when it was reset

    @property
    def is_blocked(self) -> bool:
        """Has it written what the kernel will not take now?"""
        return self.is_held and self.untaken >= LARGE_BYTES

    @property
    def may_have_closed_late(self) -> bool:
        return self.written >= LARGE_BYTES

    @property
    def in_doubt(self) -> int:
        """What an end in this turn might swallow."""
        return self.fresh or self.untaken

    @property
    def is_listening(self) -> bool:
        return not (self.is_paused or self.is_closing or self.has_seen_eof)


class Ledger:
    def __init__(self, plan: Plan) -> None:
        self.has_tls = bool(plan.tls)
        self.sides = (Side(plan.keep_open[0]), Side(plan.keep_open[1]))

    def take(self, step: Step) -> bool:
        """Enter *step*; False if it cannot be taken as things stand."""
        side, peer = self.sides[step.side], self.sides[1 - step.side]
        if self.has_tls and side.is_lost and step.what in ("write", "pause", "resume"):
            return False  # what asyncio's sslproto does then differs between versions
        if step.what in ENDS and (side.armed or peer.armed) and (side.in_doubt or peer.in_doubt):
            return False  # nobody would know whether what is armed goes off
        enter = getattr(self, f"_{step.what}", None)
        return True if enter is None else enter(side, peer, step.value) is not False

    # The steps.

    def _write(self, side: Side, peer: Side, size: int) -> bool | None:
        if side.written + size > WRITTEN_BYTES_MAX:
            return False
        is_small = side.untaken + size <= SMALL_BYTES_MAX or side.untaken >= LARGE_BYTES
        if side.is_held and not is_small and size < LARGE_BYTES:
            return False  # nobody knows whether the kernel takes it
        if side.is_lost and (side.fresh or side.may_have_closed_late):
            # asyncio drops it if the kernel has taken all that came before, which is a race; or
            # raises AttributeError if the kernel took it only after close().
            return False
        if side.has_sent_eof or side.is_lost:
            return None
        side.written += size
        side.fresh += size
        side.untaken += size if side.is_held else 0
        if side.ending == "reset" and size:
            self._lose(side, peer, ANY_CONNECTION_ERROR)
        return None

    def _flow(self, side: Side, peer: Side, flow: str) -> bool | None:
        if side.is_cut:
            return False
        side.is_held = flow == "held"
        return None

    def _pause(self, side: Side, peer: Side, _: int) -> bool | None:
        if side.has_seen_eof:
            return False  # asyncio reads on after the end and calls eof_received() again
        if side.ending == "reset" and side.fresh:
            return False  # as for the reset of one that is paused
        if not side.is_closing:
            side.is_paused = True
        return None

    def _resume(self, side: Side, peer: Side, _: int) -> None:
        if not side.is_closing:
            side.is_paused = False

    def _arm(self, side: Side, peer: Side, what: str) -> bool | None:
        if peer.fresh or peer.is_torn or peer.is_cut:
            return False  # it may go off, or not
        if side.is_paused:
            # Is more held back for certain than it can have got at once?
            left = peer.passed.low - side.received.low - side.fired * RECEIVED_AT_ONCE_BYTES_MAX
            if what != "pause" or not side.fired or left < RECEIVED_AT_ONCE_BYTES_MAX:
                return False
            side.is_more_certain = True
        side.armed = what
        return None

    def _write_eof(self, side: Side, peer: Side, _: int) -> None:
        if not side.is_closing:
            side.has_sent_eof = True

    def _close(self, side: Side, peer: Side, _: int) -> None:
        if side.is_lost:
            return
        side.is_closing = True
        side.armed = ""
        if side.ending == "reset" and side.was_blocked:
            self._lose(side, peer, ANYTHING)
        elif not side.is_blocked:
            # What was written in this turn may still be on its way to a connection that is reset.
            error = ANYTHING if side.ending == "reset" and side.fresh else "None"
            self._lose(side, peer, error)

    def _abort(self, side: Side, peer: Side, _: int) -> bool | None:
        if side.is_lost:
            if side.may_have_closed_late and not side.fresh:
                return False  # as for write()
            if side.fresh > SMALL_BYTES_MAX:
                self._tear(side)
            if side.error == ANY_CONNECTION_ERROR and side.fresh:
                side.error = ANYTHING  # it was faster than the send that fails
            return None
        if side.untaken or side.fresh > SMALL_BYTES_MAX:
            self._tear(side)
        self._lose(side, peer, "None")
        return None

    def _half_close(self, side: Side, peer: Side, _: int) -> bool | None:
        if side.ending:
            return False
        self._cut(peer)
        side.ending = "eof"
        return None

    def _reset(self, side: Side, peer: Side, _: int) -> bool | None:
        if side.ending or side.is_lost:
            return False
        if (peer.has_sent_eof or peer.is_lost) and not peer.is_held:
            return False  # which of the two ends comes first?
        if side.fresh and not side.is_listening:
            # headrace sends when the turn ends, and meets what asyncio does not.
            return False
        side.was_blocked = side.is_blocked or side.fresh > SMALL_BYTES_MAX
        side.reset_error = ANY_CONNECTION_ERROR if side.fresh else RESET
        self._cut(side)
        self._cut(peer)
        # What the kernel had for it, and the proxy, is gone.
        if side.is_paused or peer.passed.high < peer.written:
            self._tear(peer)
            peer.passed.low = side.received.low
        side.ending = "reset"
        if not peer.ending:
            peer.ending = "eof"
        return None

    # What follows from them.

    def settle(self) -> None:
        """Everything that can happen has happened."""
        both = (self.sides, self.sides[::-1])
        for _ in range(4):  # an end that is seen may end the other side
            for side, _peer in both:
                self._pass(side)
            for side, peer in both:
                self._receive(side, peer)
            for side, peer in both:
                side.fresh = 0
                self._end(side, peer)
        for side in self.sides:
            side.certain = side.passed.low
            side.untaken = side.untaken if side.is_held else 0

    def _pass(self, side: Side) -> None:
        if not (side.is_held or side.is_cut or side.is_torn):
            side.passed = Range(side.written, side.written)

    def _receive(self, side: Side, peer: Side) -> None:
        if not side.is_listening:
            return
        if side.armed and (side.is_more_certain or peer.passed.high > side.received.high):
            self._fire(side, peer)
        else:
            side.fired = 0
            side.received = Range(peer.passed.low, peer.passed.high)

    def _fire(self, side: Side, peer: Side) -> None:
        """With the first bytes that came it did what it was armed for; how many, who knows?"""
        side.received = Range(side.received.low + 1, peer.passed.high)
        what, side.armed = side.armed, ""
        side.is_more_certain = False
        side.fired += 1
        if what == "pause":
            side.is_paused = True
        elif what == "close":
            self._close(side, peer, 0)
        else:
            self._abort(side, peer, 0)

    def _end(self, side: Side, peer: Side) -> None:
        if side.is_closing and not side.is_lost and not side.is_blocked:
            self._lose(side, peer, "None")
        if side.ending == "reset" and not side.is_lost:
            self._meet_reset(side, peer)
        elif side.ending == "eof" and side.is_listening:
            self._meet_eof(side, peer)
        is_over = side.is_lost or (side.has_sent_eof and not side.is_blocked)
        if is_over and not side.is_held and not peer.ending:
            peer.ending = "eof"

    def _meet_eof(self, side: Side, peer: Side) -> None:
        self._receive(side, peer)
        if side.is_listening:
            side.has_seen_eof = True
            side.is_closing = not side.keep_open

    def _meet_reset(self, side: Side, peer: Side) -> None:
        if side.was_blocked:
            self._lose(side, peer, ANY_CONNECTION_ERROR)
        elif side.is_listening:
            self._lose(side, peer, side.reset_error)

    def _lose(self, side: Side, peer: Side, error: str) -> None:
        # A socket that is closed with bytes unread sends a RST, which may overtake what it sent.
        is_unread = peer.passed.high > side.received.low or peer.fresh
        if is_unread and (side.untaken or side.fresh):
            self._tear(side)
        side.is_closing = side.is_lost = True
        side.armed = ""
        side.error = error

    def _cut(self, side: Side) -> None:
        was_released = side.untaken and not side.is_held
        if not side.is_cut and (side.fresh or was_released):
            self._tear(side)
        side.is_cut = True
        side.is_held = False
        side.untaken = 0

    def _tear(self, side: Side) -> None:
        """Nobody knows how much of what *side* wrote gets through."""
        side.passed = Range(side.certain, side.written)
        side.is_torn = True
