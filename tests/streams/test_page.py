"""The example of docs/streams.md is executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
DEADLINE_S = 30


def test_example_prints_what_the_page_says(tmp_path):
    [program] = re.findall(r"<!-- file: streams.py -->\n```python\n(.*?)```", PAGE, re.S)
    [printed] = re.findall(r"^prints `([^`]+)`", PAGE, re.M)
    (tmp_path / "streams.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "streams.py")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert ended.stdout == printed + "\n"
    assert ended.stderr == ""
