"""The tests themselves: they end, also where interrupts were ignored and where they fail."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What a shell without job control does to what it starts in the background.
IN_BACKGROUND = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
INTERRUPTED = ["cli/test_run_is_python.py", "-k", "ended_by_a_signal"]


def test_tests_that_interrupt_pass_in_the_background_of_a_script(started):
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with started(
        [*IN_BACKGROUND, *pytest_command, *INTERRUPTED],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_child_of_a_test_that_fails_is_killed(started):
    with pytest.raises(AssertionError, match="of the test's"):
        with started(["sleep", "1000"]) as process:
            raise AssertionError("of the test's")
    assert process.returncode == -signal.SIGKILL
