from headrace.core.buffer_pool import BufferPool

class RingBuffers(BufferPool):
    """The provided-buffer ring."""

    piece_max: int
    """How many pieces of buffers may be lent at once."""

    @property
    def is_incremental(self) -> bool:
        """Whether the kernel fills a buffer with one piece after the other."""

    @property
    def published(self) -> int:
        """How many buffers the kernel has."""

    @property
    def window(self) -> int:
        """How many it is to have at the beginning of a turn."""
