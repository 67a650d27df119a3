def signals_reserved() -> dict[int, str]:
    """The real-time signals that this process keeps for models, and for whom."""
