from asyncio import transports

from headrace.core.ready_queue import Runnable

class Face(transports._FlowControlMixin):
    """What isinstance() sees."""

class Connection(Runnable):
    """What a transport is before it reads or writes."""
