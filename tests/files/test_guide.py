"""docs/files.md is executed, and names what is there."""

import re
import subprocess
import sys
from pathlib import Path

import headrace

GUIDE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def test_example_of_the_guide_runs(tmp_path):
    (program,) = re.findall(r"<!-- file: number.py -->\n```python\n(.*?)```", GUIDE, re.S)
    (tmp_path / "number.py").write_text(program)
    source = tmp_path / "source"
    source.write_text("water\nto the wheel\n" * 1000)
    done = subprocess.run(
        [sys.executable, "-W", "error", "number.py", "source", "target"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    expected = "".join(
        f"{number:6} {line}\n"
        for number, line in enumerate(source.read_text().splitlines(), start=1)
    )
    assert (tmp_path / "target").read_text() == expected
    assert done.stdout == f"2000 lines\n{sum(expected.encode())}\n"


def test_guide_names_every_function_of_headrace_os():
    for name in headrace.os.__all__:
        assert f"`{name}`" in GUIDE
