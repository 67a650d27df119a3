from headrace.models.reactor import Readiness

class SignalReadiness(Readiness):
    """The kernel sends the thread a signal when a descriptor becomes ready."""
