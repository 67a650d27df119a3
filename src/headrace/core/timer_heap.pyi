from headrace.core.ready_queue import Runnable

class Timer(Runnable):
    """What can stand in the heap."""

class TimerHeap:
    """Deadlines, the first one on top; cancelling is O(log n)."""

    @property
    def count(self) -> int: ...
    def __len__(self) -> int: ...
