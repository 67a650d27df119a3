from typing import TypedDict

SYSTEM_CALL_NAMES: tuple[str, ...]
KIND_NAMES: tuple[str, ...]

class StatisticsDict(TypedDict):
    """What `EventLoop.statistics()` answers: counts since the loop was made."""

    loop_iterations: int
    operations: dict[str, int]
    system_calls: dict[str, int]
    completions: int
    buffer_starvation: int
    completion_overflows: int
    thread_rotations: int

class Statistics:
    """What a loop and its model have done since they were made."""

    def count_system_call(self, name: str, count: int = 1) -> None:
        """Count *count* calls of *name*; for models written in Python."""

    def as_dict(self) -> StatisticsDict:
        """The counts by name, without those that are zero."""
