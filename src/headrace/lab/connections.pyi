"""The connections of the load generator; ``headrace.lab.load`` is the face for Python."""

from typing import Final

ERROR_KINDS: Final[tuple[str, ...]]
"""The kinds of errors that ``Window.errors`` counts."""

class Connections:
    """The state and the loop; ``Load`` sets it up."""
