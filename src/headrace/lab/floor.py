"""The floor: the same service in plain C, built on demand from ``bench/c``."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "bench" / "c"
BINARIES = ROOT / "build" / "floor"
BUILD_S = 60
NO_SOURCES = (
    "this is an installed copy, and the C sources (bench/c) stand only in a clone; there, run"
    " ./try, or pip install --editable '.[lab]'"
)
PROGRAMS = {"c-epoll": "echo_epoll", "c-uring": "echo_uring"}


@dataclass(frozen=True)
class Program:
    """A floor server: its binary, or why there is none."""

    name: str
    path: Path
    reason: str | None


def build(path: Path) -> str | None:
    """Makes the binary current; answers why that is not possible, or None."""
    if not SOURCES.is_dir():
        return None if path.is_file() else NO_SOURCES
    if shutil.which("make") is None or shutil.which("cc") is None:
        return None if path.is_file() else "no C compiler (apt-get install build-essential)"
    made = subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={BINARIES}", str(path)],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if made.returncode == 0:
        return None
    lines = [line for line in made.stderr.splitlines() if "error" in line] or ["make failed"]
    return f"does not build: {lines[0].strip()} (apt-get install liburing-dev pkg-config)"


def programs() -> list[Program]:
    """The floor servers, built where that is possible."""
    return [
        Program(name, BINARIES / binary, build(BINARIES / binary))
        for name, binary in PROGRAMS.items()
    ]
