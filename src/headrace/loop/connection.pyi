import asyncio
from asyncio import transports
from typing import Any

from headrace.core.ready_queue import Runnable

class Face(transports._FlowControlMixin):
    """What isinstance() sees."""

class Connection(Runnable):
    """What a transport is before it reads or writes."""

    def abort(self) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
    def get_protocol(self) -> asyncio.BaseProtocol: ...
    def is_closing(self) -> bool: ...
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
