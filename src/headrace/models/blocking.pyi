from headrace.models.contract import Model

class Blocking(Model):
    """Threads that block in the real call; at most *thread_limit*, default thread_limit()."""

    def __init__(self, thread_limit: int | None = None) -> None: ...
    @property
    def threads(self) -> dict[str, int]:
        """How many threads are busy, how many are there, how many may be; and who waits for one."""
