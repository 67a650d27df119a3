"""Files whose methods are awaited: what `headrace.open()` answers, and what it is made of."""

from headrace.files.binary import BinaryFile
from headrace.files.opening import Opening, open
from headrace.files.text import TextFile

__all__ = ["BinaryFile", "Opening", "TextFile", "open"]
