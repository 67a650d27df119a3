from headrace.core.operation import ReceiveOperation
from headrace.loop.connection import Connection

class StreamReceive(ReceiveOperation): ...

class ReadingSide(Connection):
    """The reading side of a stream transport."""
