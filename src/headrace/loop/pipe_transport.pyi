import asyncio
from asyncio import transports
from typing import Any

from headrace.core.operation import PollOperation
from headrace.loop.stream_reading import ReadingSide
from headrace.loop.stream_writing import WritingSide

class ReadFace(transports.ReadTransport):
    """What isinstance() sees of a read end."""

class WriteFace(transports._FlowControlMixin, transports.WriteTransport):
    """What isinstance() sees of a write end."""

class ReadPipeTransport(ReadingSide):
    """The read end of a pipe and its protocol; isinstance() says asyncio.ReadTransport."""

    def close(self) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...

class ReaderWatch(PollOperation):
    """Waits until nobody reads any more."""

class WritePipeTransport(WritingSide):
    """The write end of a pipe and its protocol; isinstance() says asyncio.WriteTransport."""

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...

def read_pipe_transport(
    loop: Any,
    pipe: Any,
    protocol: asyncio.BaseProtocol,
    waiter: Any,
    extra: dict[str, Any] | None,
) -> Any:
    """A transport for the read end *pipe*, which is now the transport's."""

def write_pipe_transport(
    loop: Any,
    pipe: Any,
    protocol: asyncio.BaseProtocol,
    waiter: Any,
    extra: dict[str, Any] | None,
) -> Any:
    """A transport for the write end *pipe*, which is now the transport's."""
