from typing import Self

class BufferPool:
    """*count* buffers of *size* bytes, lent to receives and given back once copied."""

    def __new__(cls, count: int, size: int) -> Self: ...
    @property
    def count(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def idle_count(self) -> int:
        """How many buffers nobody holds; equal to `count` when nothing is in flight."""
