"""Telnet's commands taken out of what the client sends (RFC 854).

"The FTP uses the Telnet protocol on the control connection" (RFC 959 section 2.3).  Of it clients
use IAC IP and IAC DM before ABOR, and IAC IAC for a byte 255 in a name.  RFC 1123 section 4.1.2.12
wants options refused, not only ignored.  The DM comes as urgent data: a session sets SO_OOBINLINE,
so that no byte is missing; without it what is left of IAC IP IAC DM stands before the verb, which
the core takes off.

An IAC that no Telnet command follows is left as it is: clients that know no UTF-8 send names with a
byte 255 (a y with two dots) and do not double it.
"""

from __future__ import annotations

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
FIRST_COMMAND = 236  # EOF; RFC 854's own begin with SE
_IAC = bytes([IAC])
_END_OF_SUBNEGOTIATION = bytes([IAC, SE])
_REFUSALS = {WILL: DONT, DO: WONT}

REFUSALS_BYTES_MAX = 48
"""So many bytes of refusals wait to be sent; options beyond them are ignored."""


class Telnet:
    """Takes the commands out of a stream of bytes, however it is cut; keeps 2 bytes at most."""

    __slots__ = ("_rest", "_subnegotiating", "refusals")

    def __init__(self) -> None:
        self._rest = b""
        self._subnegotiating = False
        self.refusals = b""
        """What is to be sent for the options that the client offered or asked for."""

    def __repr__(self) -> str:
        inside = " in a subnegotiation" if self._subnegotiating else ""
        return f"<Telnet rest={self._rest!r}{inside}>"

    @property
    def idle(self) -> bool:
        """Nothing is cut in the middle, nothing is to be sent: this object may be dropped."""
        return not (self._rest or self._subnegotiating or self.refusals)

    def strip(self, data: bytes) -> bytes:
        """The text in `data`, and what was cut before it."""
        data = self._rest + data
        self._rest = b""
        text = []
        at = 0
        while at < len(data):
            if self._subnegotiating:
                at = self._skip_subnegotiation(data, at)
                continue
            iac = data.find(_IAC, at)
            if iac < 0:
                iac = len(data)
            text.append(data[at:iac])
            at = iac + self._command(data, iac, text)
        return b"".join(text)

    def _skip_subnegotiation(self, data: bytes, at: int) -> int:
        end = data.find(_END_OF_SUBNEGOTIATION, at)
        if end >= 0:
            self._subnegotiating = False
            return end + 2
        if data.endswith(_IAC):
            self._rest = _IAC
        return len(data)

    def _command(self, data: bytes, iac: int, text: list[bytes]) -> int:
        """Carries out the command at `iac` and returns how many bytes it has."""
        left = len(data) - iac
        if left < 2:
            self._rest = data[iac:]
            return left
        command = data[iac + 1]
        if command == IAC or command < FIRST_COMMAND:
            text.append(_IAC)
            return 2 if command == IAC else 1
        if command == SB:
            self._subnegotiating = True
        if command not in (WILL, WONT, DO, DONT):
            return 2
        if left < 3:
            self._rest = data[iac:]
            return left
        self._refuse(command, data[iac + 2])
        return 3

    def _refuse(self, command: int, option: int) -> None:
        if command in _REFUSALS and len(self.refusals) + 3 <= REFUSALS_BYTES_MAX:
            self.refusals += bytes([IAC, _REFUSALS[command], option])
