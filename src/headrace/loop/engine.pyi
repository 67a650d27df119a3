import socket

from headrace.core.operation import Operation, ReceiveOperation
from headrace.core.statistics import StatisticsDict
from headrace.loop.scheduling import Scheduling
from headrace.models.contract import Model

class Waker(ReceiveOperation):
    """Reads the loop's socket pair."""

    def close(self) -> None: ...

class LoopCore(Scheduling):
    """Waking, and the turn of the loop."""

    @property
    def _model(self) -> Model: ...
    _spin_s: float
    @property
    def _wake_writer(self) -> socket.socket: ...
    @property
    def model(self) -> str:
        """The name of the I/O model that the loop runs on."""

    def statistics(self) -> StatisticsDict:
        """What the loop and its model have done since the loop was made."""

    def _open(self, model: Model) -> None: ...
    def _bind(self, forked: bool) -> None: ...
    def _unbind(self) -> None: ...
    def _close_core(self) -> None: ...
    def _operations_in_flight(self) -> list[Operation]: ...
    def _callbacks_pending(self) -> int: ...
