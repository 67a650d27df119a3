"""Threads for what is too slow for a loop, and how much of it may wait for one."""

import concurrent.futures

__all__ = ["Pool"]

NAME = "headrace-serve"


class Pool:
    """A few threads, made when they are needed, and how many jobs they have."""

    __slots__ = ("executor", "jobs", "threads_max")

    def __init__(self, threads_max: int) -> None:
        self.threads_max = threads_max
        self.executor = concurrent.futures.ThreadPoolExecutor(threads_max, NAME)
        self.jobs = 0  # at work or waiting

    def __repr__(self) -> str:
        return f"<Pool threads_max={self.threads_max} jobs={self.jobs}>"

    def is_full(self, queued_max: int) -> bool:
        return self.jobs >= queued_max + self.threads_max

    def shut_down(self) -> None:
        """Wait for what is at work; what waits is not begun any more."""
        self.executor.shutdown(wait=True, cancel_futures=True)
