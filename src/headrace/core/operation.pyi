from collections.abc import Callable, Iterator
from typing import Any

from headrace.core.buffer_pool import BufferPool
from headrace.core.ready_queue import Runnable

NOT_DONE: int
DONE: int
DONE_AND_EXHAUSTED: int
WAITS_READABLE: int
WAITS_WRITABLE: int
KIND_NAMES: tuple[str, ...]
STATE_NAMES: tuple[str, ...]

class Operation(Runnable):
    """One thing asked of the kernel, as data; `Model.perform` tries it without waiting."""

    on_complete: Callable[..., object] | None
    owned: bool
    result: int
    flags: int
    sock: Any
    @property
    def fd(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def kind_name(self) -> str: ...
    @property
    def events(self) -> int: ...
    @property
    def wants_read(self) -> bool: ...
    @property
    def wants_write(self) -> bool: ...
    @property
    def multishot(self) -> bool: ...
    @property
    def eager(self) -> bool: ...
    @property
    def composed(self) -> bool: ...
    @property
    def state(self) -> int: ...
    @property
    def queued(self) -> bool: ...

class InFlight:
    """The operations that a model has not finished."""

    @property
    def count(self) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Operation]: ...

class AcceptOperation(Operation):
    """Accept; `on_complete(operation, descriptor_or_negative_errno, more)`."""

    def __init__(
        self, fd: int, multishot: bool = True, on_complete: Callable[..., object] | None = None
    ) -> None: ...
    @property
    def peer(self) -> Any:
        """After a single accept: the peer's address, in the socket module's form."""

class ReceiveOperation(Operation):
    """Multishot receive; `on_complete(operation, result, data)`, result 0 at the end.

    With *scratch* it is of a pipe: read(2) into a buffer of that pool.
    """

    def __init__(
        self,
        fd: int,
        on_complete: Callable[..., object] | None = None,
        *,
        scratch: BufferPool | None = None,
    ) -> None: ...

class ReceiveIntoOperation(Operation):
    """One receive into *target*; `on_complete(operation, result, more)`."""

    def __init__(
        self, fd: int, target: Any, on_complete: Callable[..., object] | None = None
    ) -> None: ...

class ReceiveBytesOperation(Operation):
    """One receive of at most *length* bytes, left in `data`; result is their count."""

    def __init__(
        self,
        fd: int,
        scratch: BufferPool,
        length: int,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...
    @property
    def data(self) -> bytes: ...

class SendOperation(Operation):
    """One send of *source*, to a *pipe* by write(2); result is how many bytes the kernel took."""

    def __init__(
        self,
        fd: int,
        source: Any = None,
        on_complete: Callable[..., object] | None = None,
        *,
        composed: bool = False,
        pipe: bool = False,
    ) -> None: ...

class ConnectOperation(Operation):
    """One connect to a numeric *address*; result is 0."""

    def __init__(
        self,
        fd: int,
        family: int,
        address: Any,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...

class PollOperation(Operation):
    """Wait until ready; multishot is level-triggered."""

    def __init__(
        self,
        fd: int,
        events: int,
        multishot: bool = False,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...

class SendfileOperation(Operation):
    """One sendfile(2) of *length* bytes of *file_fd* from *offset*."""

    def __init__(
        self,
        fd: int,
        file_fd: int,
        offset: int,
        length: int,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...
