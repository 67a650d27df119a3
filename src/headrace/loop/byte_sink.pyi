from headrace.core.ready_queue import Runnable

class ByteSink(Runnable):
    """A native protocol that takes bytes where they were received."""
