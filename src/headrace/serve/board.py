"""What each worker says of itself, in memory that all share: what numbers alone cannot say.

`Meters` has the counts.  Here each worker has a slot for a short text in JSON: its model, its CPU
time, and its oldest transfers.  It writes its own slot once a second, and whoever is asked for the
status reads them all.

Decision.  No lock: a slot begins with a number that is odd while the slot is being written, and
that is another one afterwards.  A reader who sees an odd number, or another one at the end, reads
again (Linux' seqlock).  A worker that dies while it writes leaves an odd number: its successor
begins anew.
"""

from __future__ import annotations

import json
import mmap
import struct
from typing import Any

__all__ = ["SLOT_BYTES", "Board"]

SLOT_BYTES = 32 * 1024
READS_MAX = 8
# How often the slot was written, twice; how long the text is.
HEAD = struct.Struct("=QQ")
NUMBER = struct.Struct("=Q")
# A page of their own: the restarts, and behind them each worker's beats.
BOARD_HEAD_BYTES = 4096


class Board:
    """Made before the workers are forked."""

    def __init__(self, workers: int = 1) -> None:
        assert (1 + workers) * NUMBER.size <= BOARD_HEAD_BYTES
        self.workers = workers
        self._memory = mmap.mmap(-1, BOARD_HEAD_BYTES + workers * SLOT_BYTES)

    def __repr__(self) -> str:
        return f"<Board of {self.workers} workers, {self.restarts} restarts>"

    @property
    def restarts(self) -> int:
        """How many workers have been replaced."""
        return int(NUMBER.unpack_from(self._memory)[0])

    def count_restart(self) -> None:
        """The master says so."""
        NUMBER.pack_into(self._memory, 0, self.restarts + 1)

    def beats(self, worker: int) -> int:
        """How often that worker, and those before it, have shown that they are alive."""
        return int(NUMBER.unpack_from(self._memory, (1 + worker) * NUMBER.size)[0])

    def beat(self, worker: int) -> None:
        """The worker says so, whatever else it says."""
        NUMBER.pack_into(self._memory, (1 + worker) * NUMBER.size, self.beats(worker) + 1)

    def write(self, worker: int, said: dict[str, Any]) -> bool:
        """Say something; False: it is too long, and what was said before stays."""
        text = json.dumps(said).encode("ascii")
        if len(text) > SLOT_BYTES - HEAD.size:
            return False
        at = BOARD_HEAD_BYTES + worker * SLOT_BYTES
        number = HEAD.unpack_from(self._memory, at)[0] | 1
        HEAD.pack_into(self._memory, at, number, 0)
        begin = at + HEAD.size
        self._memory[begin : begin + len(text)] = text
        HEAD.pack_into(self._memory, at, number + 1, len(text))
        return True

    def read(self, worker: int) -> dict[str, Any]:
        """What a worker has said; nothing where it has not, or says something all the time."""
        at = BOARD_HEAD_BYTES + worker * SLOT_BYTES
        for _ in range(READS_MAX):
            number, length = HEAD.unpack_from(self._memory, at)
            begin = at + HEAD.size
            text = self._memory[begin : begin + length]
            if number % 2 == 0 and HEAD.unpack_from(self._memory, at)[0] == number:
                break
        else:
            return {}
        return dict(json.loads(text)) if text else {}

    def clear(self, worker: int) -> None:
        """That worker has gone."""
        HEAD.pack_into(self._memory, BOARD_HEAD_BYTES + worker * SLOT_BYTES, 0, 0)
