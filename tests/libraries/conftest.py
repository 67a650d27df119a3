"""The modules beside this file are imported by name, as the command imports them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
