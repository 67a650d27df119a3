from headrace.loop.connection import Connection

class FlowControl(Connection):
    """How much may wait to be sent before the protocol is told to pause."""
