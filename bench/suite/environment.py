"""The Python that the suite runs in: .venv-bench, made when it is missing or out of date.

It runs before anything is installed, on whatever Python starts ``bench/run``: nothing is imported
here but the standard library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
REQUIREMENTS = BENCH / "requirements.txt"
VERSION = "3.12"
WHY = "blazio 0.1, one of the peers, has wheels for it only"
SOURCES = ("*.pyx", "*.pxd")


def folder() -> Path:
    return ROOT / ".venv-bench"


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def find_interpreter() -> str | None:
    """Python 3.12: on $PATH, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [f"python{VERSION}", *sorted(map(str, pyenv.glob(f"{VERSION}.*/bin/python")))]
    for candidate in candidates:
        path = shutil.which(candidate)
        if path is not None and version_of(path) == VERSION:
            return path
    return None


def version_of(interpreter: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def stamp() -> str:
    """What the environment was made from: it is made anew when that has changed."""
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def require() -> Path:
    """The interpreter of the suite, with all peers installed and headrace built for it."""
    place = folder()
    noted = place / "requirements"
    if not (noted.is_file() and noted.read_text() == stamp()):
        make(place)
        noted.write_text(stamp())
    build(python_of(place))
    return python_of(place)


def make(place: Path) -> None:
    """Makes the environment; what cannot be had is said here, and in its rows."""
    interpreter = find_interpreter()
    if interpreter is None:
        interpreter = sys.executable
        say(f"Python {VERSION} is neither on $PATH nor in pyenv, and {WHY}")
    say(f"making {place.name} with {interpreter}")
    if not python_of(place).exists():
        subprocess.run([interpreter, "-m", "venv", str(place)], check=True)
    if install(place, ["--requirement", str(REQUIREMENTS)]):
        return
    for requirement in requirements():
        if not install(place, [requirement]):
            say(f"{requirement} cannot be installed here: what needs it is left out")


def install(place: Path, what: list[str]) -> bool:
    """Whether pip could."""
    pip = [str(python_of(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*pip, *what], check=False).returncode == 0


def requirements() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line]


def build(interpreter: Path) -> None:
    """Builds headrace in place where a source is newer than what was built last."""
    built = interpreter.parents[1] / "built"
    if built.is_file() and newest_source() <= built.stat().st_mtime:
        return
    say(f"building headrace for {interpreter.parents[1].name}")
    begun = built.with_suffix(".begun")
    begun.touch()  # before the build: what is edited meanwhile is newer
    command = [str(interpreter), "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    begun.replace(built)


def newest_source() -> float:
    found = [ROOT / "setup.py", *(path for kind in SOURCES for path in ROOT.glob(f"src/**/{kind}"))]
    return max(path.stat().st_mtime for path in found)


def variables() -> dict[str, str]:
    """The environment of the suite: headrace is this clone's, and no model is preset."""
    found = dict(os.environ)
    found["PYTHONPATH"] = str(ROOT / "src")
    found.pop("HEADRACE_MODEL", None)
    return found


def say(words: str) -> None:
    print(f"== {words}", file=sys.stderr, flush=True)
