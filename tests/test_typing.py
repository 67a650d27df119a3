"""The types that users see."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
USERS_PROGRAM = ROOT / "tests" / "typing" / "users_program.py"


def test_types_satisfy_mypy_strict_in_a_users_program(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the dev extra")
    # From elsewhere, and without this project's mypy settings: as a user has it.
    outcome = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(USERS_PROGRAM)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_users_program_runs(capsys):
    runpy.run_path(str(USERS_PROGRAM), run_name="__main__")
    assert "kqueue" in capsys.readouterr().out
