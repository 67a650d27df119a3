class Runnable:
    """What can stand in the ready queue: a handle, a completed operation, a transport's step."""

class ReadyQueue:
    """All that the loop will run in its next turn, in order."""

    @property
    def count(self) -> int:
        """How many entries wait."""

    def __len__(self) -> int: ...
