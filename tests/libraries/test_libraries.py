"""The smallest library's suite on headrace; tests/libraries/run runs them all."""

import subprocess
import sys
from pathlib import Path

import pytest

import headrace

FOLDER = Path(__file__).parent
LIBRARY = "aiosqlite"
LIBRARY_S_MAX = 600
MODELS = [model.name for model in headrace.models() if model.available]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, FOLDER / "run", *words],
        capture_output=True,
        text=True,
        timeout=LIBRARY_S_MAX,
    )


@pytest.mark.slow
@pytest.mark.timeout(LIBRARY_S_MAX)
def test_library_shows_no_failure_that_stock_asyncio_does_not():
    ended = run(LIBRARY)
    if ended.returncode == 2:
        pytest.skip(ended.stderr)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("  failed on this model alone: 0\n") == len(MODELS)


def test_run_names_the_libraries_there_are():
    ended = run("no-such-library")
    assert ended.returncode == 2
    assert LIBRARY in ended.stderr
    assert "Traceback" not in ended.stderr
