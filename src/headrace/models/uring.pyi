from headrace.models.contract import Model
from headrace.models.ring_buffers import RingBuffers

class Uring(Model):
    """io_uring; features can be turned off, as on an older kernel, and sizes set."""

    def __init__(
        self,
        *,
        defer_taskrun: bool = True,
        multishot_receive: bool = True,
        completion_entries: int = 4096,
        buffer_count: int = 256,
        incremental_buffers: bool = True,
    ) -> None: ...
    @property
    def has_ring(self) -> bool: ...
    @property
    def is_enabled(self) -> bool: ...
    @property
    def records(self) -> RingBuffers | None:
        """What datagrams are received into; made when the first is waited for."""

    @property
    def multishot_receive(self) -> bool: ...
    @property
    def features(self) -> dict[str, bool]:
        """What this ring uses."""
