from headrace.core.buffer_pool import BufferPool
from headrace.models.contract import Model

class RingBuffers(BufferPool):
    """The provided-buffer ring."""

class Uring(Model):
    """io_uring; the flags turn features off, as an older kernel would."""

    def __init__(self, *, defer_taskrun: bool = True, multishot_receive: bool = True) -> None: ...
    @property
    def has_ring(self) -> bool: ...
    @property
    def is_enabled(self) -> bool: ...
    @property
    def multishot_receive(self) -> bool: ...
    @property
    def features(self) -> dict[str, bool]:
        """What this ring uses."""

def unavailable_reason(error: OSError) -> str:
    """Why there is no ring, in a line that says where to look."""

def permission_hint() -> str: ...
