"""Lets the tests of the recorder import their own recordings, however pytest is called."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
