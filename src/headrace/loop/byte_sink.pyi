class ByteSink:
    """A native protocol that takes bytes where they were received."""
