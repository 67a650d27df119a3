from headrace.core.buffer_pool import BufferPool

class RingBuffers(BufferPool):
    """The provided-buffer ring."""
