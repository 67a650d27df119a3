"""Which workers have hung: each beats on the board once a second, and the master listens.

A worker that hangs keeps its listening sockets, and so its share of the new connections, which
nobody would ever answer.

Decision.  The master trusts its own clock no more than the workers: where it was not there itself
when it should have listened (the machine, or all of the server, stood still), nobody's silence
means anything, and all begin anew.
"""

from __future__ import annotations

from headrace.serve.board import Board

__all__ = ["LISTEN_S", "Watch"]

LISTEN_S = 1.0
"""How often the master should listen, at least."""
LATE_S = 3.0
"""So long after it has listened, it was not there itself."""


class Watch:
    """What has been heard of the workers, and when; times are time.monotonic()'s."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._beats = [0] * board.workers
        self._heard_s = [0.0] * board.workers
        self._listened_s = 0.0

    def __repr__(self) -> str:
        return f"<Watch of {self._board.workers} workers>"

    def begin(self, worker: int, now_s: float) -> None:
        """That worker has just begun."""
        self._heard_s[worker] = now_s

    def listen(self, now_s: float) -> None:
        late = now_s - self._listened_s > LATE_S
        self._listened_s = now_s
        for worker, before in enumerate(self._beats):
            self._beats[worker] = self._board.beats(worker)
            if late or self._beats[worker] != before:
                self._heard_s[worker] = now_s

    def silence_s(self, worker: int) -> float:
        """For how long it has not beaten; 0 for as long as it need not."""
        return max(0.0, self._listened_s - self._heard_s[worker])
