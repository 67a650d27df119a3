"""docs/writing-a-model.md does what it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "writing-a-model.md"
ARCHITECTURE = ROOT / "docs" / "design" / "architecture.md"


def test_guide_runs_from_top_to_bottom():
    text = GUIDE.read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    namespace = {"__name__": "guide"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{GUIDE.name}, block {number}", "exec"), namespace)
    assert namespace["NeverHere"].available() == "needs a kernel of next year"


@pytest.mark.parametrize("page", [GUIDE, ARCHITECTURE], ids=lambda page: page.name)
def test_links_and_files_that_are_named_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:loop|models|core|kernel)/\w+\.pyx?)`", text):
        assert (ROOT / "src" / "headrace" / name).is_file(), name
