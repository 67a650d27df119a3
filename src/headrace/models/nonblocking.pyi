from headrace.models.reactor import Readiness

class NonblockingReadiness(Readiness): ...

def nap_seconds() -> float:
    """$HEADRACE_NAP_US in seconds; 0, no nap, without it."""
