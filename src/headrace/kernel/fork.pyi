def fork_generation_now() -> int:
    """The number of forks between the interpreter's start and this process."""
