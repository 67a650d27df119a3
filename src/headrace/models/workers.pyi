from headrace.core.buffer_pool import BufferPool

class SharedBufferPool(BufferPool):
    """Buffers that threads fill and the loop gives back."""
