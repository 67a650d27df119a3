from headrace.core.operation import SendOperation
from headrace.loop.stream_reading import ReadingSide

class StreamSend(SendOperation): ...

class WritingSide(ReadingSide):
    """The writing side of a stream transport."""
