"""Counts by address, of all workers, in shared memory of a fixed size: count-min sketches.

Facts.  A table of addresses grows with them, and one that is shared needs a lock that a killed
worker may hold.  Decision: each worker has some rows of cells, all made before the fork; an address
has one cell in each row, chosen by a hash with a secret.  A worker writes its own cells only and
everybody reads all.  The sum of an address' cells over the workers is never too small, and the
smallest of its rows is too big only where other busy addresses meet it in every row (Cormode and
Muthukrishnan, 2005).  Nobody without the secret can choose addresses that meet another one.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets

__all__ = ["Connections", "Failures"]

ROWS = 3
COLUMNS = 16_384
"""In each row; with 1,000 busy addresses one in some 4,000 others is taken for one of them."""
NUMBER_BYTES = 8
SECRET_BYTES = 16


class _Sketch:
    """Rows of cells of one or more 64-bit numbers, for each worker; all zero at first."""

    def __init__(self, workers: int, numbers: int) -> None:
        size = ROWS * COLUMNS * numbers
        # Anonymous and shared; pages that nobody has touched take no memory.
        memory = memoryview(mmap.mmap(-1, workers * size * NUMBER_BYTES)).cast("q")
        self._cells = [memory[at * size : (at + 1) * size] for at in range(workers)]
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._numbers = numbers

    def _places(self, key: str) -> list[int]:
        """Where the key's cells begin, one in each row."""
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16, key=self._secret)
        number = int.from_bytes(digest.digest(), "little")
        places = []
        for row in range(ROWS):
            number, column = divmod(number, COLUMNS)
            places.append((row * COLUMNS + column) * self._numbers)
        return places


class Connections(_Sketch):
    """How many connections each address has now."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers, 1)

    def add(self, worker: int, key: str, amount: int) -> None:
        """So many more, or less; in that worker, which must be the caller's own."""
        cells = self._cells[worker]
        for place in self._places(key):
            cells[place] += amount

    def elsewhere(self, worker: int, key: str) -> int:
        """How many there are in the other workers; never too few."""
        others = [cells for at, cells in enumerate(self._cells) if at != worker]
        if not others:
            return 0
        return min(sum(cells[place] for cells in others) for place in self._places(key))

    def clear(self, worker: int) -> None:
        """That worker has gone, and its connections with it."""
        cells = self._cells[worker]
        cells[:] = memoryview(bytes(cells.nbytes)).cast("q")


class Failures(_Sketch):
    """How often each address has failed of late: each failure begins the while anew.

    A cell has a count and the time of its latest failure, in milliseconds of the monotonic clock,
    which is the same in all processes.  A worker's failures outlive it: killing it forgives
    nothing.
    """

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers, 2)

    def add(self, worker: int, key: str, now_s: float, while_s: float) -> None:
        """One more; in that worker, which must be the caller's own."""
        now_ms, while_ms = round(now_s * 1000), round(while_s * 1000)
        cells = self._cells[worker]
        for place in self._places(key):
            if now_ms - cells[place + 1] >= while_ms:
                cells[place] = 0
            cells[place] += 1
            cells[place + 1] = now_ms

    def count(self, key: str, now_s: float, while_s: float) -> int:
        """How many there were, in all workers, with no pause of ``while_s``; never too few."""
        now_ms, while_ms = round(now_s * 1000), round(while_s * 1000)
        return min(
            sum(cells[at] for cells in self._cells if now_ms - cells[at + 1] < while_ms)
            for at in self._places(key)
        )
