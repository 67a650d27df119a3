from headrace.core.operation import ReceiveOperation
from headrace.core.ready_queue import Runnable
from headrace.loop.flow_control import FlowControl

class Interruption(Runnable):
    """An exception that ends the program, to come up in the loop's turn."""

    def __init__(self, error: BaseException) -> None: ...

class StreamReceive(ReceiveOperation): ...

class ReadingSide(FlowControl):
    """The reading side of a stream transport."""

    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
