"""A library's virtual environment and tests, made once and kept under build/libraries/.

headrace is not installed there: the environment that `headrace run` makes brings it along from this
working tree, as it does for any program in a virtual environment of its own.
"""

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from suites import Suite

__all__ = ["Installation", "Uninstallable", "install"]

BUILD = Path(__file__).resolve().parents[2] / "build" / "libraries"
INSTALL_S_MAX = 900
CONFIGURATIONS = {"pytest.ini", "pyproject.toml"}
QUIET = ("--quiet", "--disable-pip-version-check")


class Uninstallable(Exception):
    """A library, or what its tests need, could not be installed."""


@dataclass(frozen=True)
class Installation:
    """Where a library is installed, its tests lie, and the records of their runs go."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def tests(self) -> Path:
        return self.folder / "tests"


def install(suite: Suite) -> Installation:
    """Install *suite*'s library and unpack its tests, unless that was done before."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    made = Installation(BUILD / f"{suite.name}-{suite.version}-python{version}")
    complete = made.folder / "complete"
    wanted = repr((suite.requirements, suite.files))
    if complete.exists() and complete.read_text() == wanted:
        return made
    shutil.rmtree(made.folder, ignore_errors=True)
    made.folder.mkdir(parents=True)
    command(sys.executable, "-m", "venv", made.folder / "venv")
    pip = (made.python, "-m", "pip")
    command(*pip, "install", *QUIET, "--prefer-binary", suite.requirement, *suite.requirements)
    made.tests.mkdir()
    if suite.files:
        source = ("--no-deps", "--no-binary", suite.name, "--dest", made.folder / "source")
        command(*pip, "download", *QUIET, *source, suite.requirement)
        unpack(next((made.folder / "source").iterdir()), made.tests, suite.files)
    if not CONFIGURATIONS & set(suite.files):
        # Or pytest would look for one in the folders above, and find this repository's.
        (made.tests / "pytest.ini").touch()
    complete.write_text(wanted)
    return made


def command(*words: str | Path) -> None:
    ended = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_S_MAX
    )
    if ended.returncode:
        said = [line for line in ended.stdout.splitlines() if not line.startswith("WARNING")]
        called = " ".join(str(word) for word in words)
        raise Uninstallable("\n".join([f"{called}: exit code {ended.returncode}", *said[-10:]]))


def unpack(archive: Path, folder: Path, wanted: tuple[str, ...]) -> None:
    """Extract the *wanted* files and folders of a source distribution, without its top folder."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if any(name.is_relative_to(PurePosixPath(each)) for each in wanted):
                member.name = str(name)
                tar.extract(member, folder, filter="data")
    missing = [each for each in wanted if not (folder / each).exists()]
    if missing:
        raise Uninstallable(f"{archive.name} has no {', '.join(missing)}")
