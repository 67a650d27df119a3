"""How the tests of the command line start programs."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.activate import environment

# The installed command: with ``python -m headrace`` the working directory would be importable.
# Its interpreter is named, because the name that its first line gives shows in Python's messages.
HEADRACE = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "headrace")]
TIMEOUT_S = 60

type_of_run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; no model is chosen by the environment."""
    monkeypatch.delenv("HEADRACE_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def headrace(folder: Path) -> type_of_run:
    """Run the headrace command: ``headrace("models", "--json", stdin="", VARIABLE="value")``."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return finished([*HEADRACE, *words], stdin, variables)

    return run


@pytest.fixture
def python(folder: Path) -> type_of_run:
    """Run plain Python with the same interface: the oracle."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return finished([sys.executable, *words], stdin, variables)

    return run


@pytest.fixture
def activated(folder: Path) -> type_of_run:
    """Run Python in the environment that ``headrace run`` makes, but without headrace before it."""

    def run(*words: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return finished([sys.executable, *words], stdin, environment())

    return run


def finished(
    command: list[str], stdin: str, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
