"""./try and ./test: what they install, when, and where they run it.

They run in a copy whose pip, Pythons and headrace only write down how they were called.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in ("3.11", "3.12", "3.13") if version != THIS]
# Writes down its name, folder and arguments; answers what a Python of that version would.
RECORDER = """\
#!/bin/sh
case "$*" in
    *version_info*) echo {version}; exit 0;;
    *"import headrace"*) exit "${{BROKEN-0}}";;
esac
echo "{name} in $PWD: $*" >>"$CALLS"
exit 0
"""


class Copy:
    """A copy of the scripts with virtual environments that are none."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.calls = folder / "calls"
        self.tools = folder / "tools"
        (self.root / "src").mkdir(parents=True)
        (self.root / "tests" / "cli").mkdir(parents=True)
        (self.root / "tests" / "loop").mkdir(parents=True)
        shutil.copytree(ROOT / "tools", self.root / "tools")
        for name in ("try", "test"):
            shutil.copy(ROOT / name, self.root)
        for name in ("pyproject.toml", "setup.py", "src/native.pyx", "src/plain.py"):
            (self.root / name).touch()
        for other in ["", *(f"-{other}" for other in OTHERS)]:
            for name in ("pip", "python", "headrace"):
                self.record(self.root / f".venv{other}" / "bin" / name, f"{name}{other}")
        for other in OTHERS:
            self.record(self.tools / f"python{other}", "system", other)
        for name in ("apt-get", "sudo", "wrk", "curl", "lftp", "wget", "h2load"):
            self.record(self.tools / name, name)

    def record(self, path: Path, name: str, version: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDER.format(name=name, version=version))
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, cwd: Path | None = None, **variables: str):
        """The calls that a run of the script made, but those for the loops to compare with."""
        self.calls.write_text("")
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        mine = {"PATH": path, "CALLS": str(self.calls), "PYTHON": sys.executable}
        subprocess.run(
            [str(self.root / script), *arguments],
            cwd=cwd or self.root, env={**os.environ, **mine, **variables}, timeout=60, check=True,
        )  # fmt: skip
        return [line for line in self.calls.read_text().splitlines() if "only-binary" not in line]

    def builds(self, **variables: str) -> bool:
        return any("--editable" in line for line in self.run("try", **variables))


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_try_compares_in_the_folder_of_its_caller(copy, tmp_path):
    caller = tmp_path / "somewhere else"
    caller.mkdir()
    *_, last = copy.run("try", "--json", "result.json", cwd=caller)
    assert last == f"headrace in {caller}: compare --json result.json"


def test_try_builds_only_what_has_changed(copy):
    assert copy.builds()
    assert not copy.builds()
    (copy.root / "src" / "plain.py").write_text("changed")
    assert not copy.builds()


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "src/native.pyx", "src/new.pxd"])
def test_try_builds_after_a_change_to(copy, name):
    assert copy.builds()
    (copy.root / name).touch()
    assert copy.builds()
    assert not copy.builds()


def test_try_builds_with_other_flags_and_where_nothing_can_be_imported(copy):
    assert copy.builds()
    assert copy.builds(HEADRACE_CFLAGS="-Og")
    assert not copy.builds(HEADRACE_CFLAGS="-Og")
    assert copy.builds(HEADRACE_CFLAGS="-Og", BROKEN="1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tests/cli"], "tests/cli"),
        (["-x", "tests/cli/test_a.py::test_b"], "-x tests/cli/test_a.py::test_b"),
        (["-k", "word"], "-k word tests/loop tests/cli"),
        ([], "tests/loop tests/cli"),
    ],
    ids=" ".join,
)
def test_test_runs_the_paths_it_is_given_on_every_python(copy, arguments, words):
    (copy.root / "tests" / "cli" / "test_a.py").touch()
    runs = [line for line in copy.run("test", *arguments) if "-m pytest" in line]
    names = [line.partition(" in ")[0] for line in runs]
    assert names[-1] == "python"
    others = [line for name, line in zip(names, runs, strict=True) if name != "python"]
    assert sorted(name for name in names if name != "python") == [
        f"python-{other}" for other in OTHERS
    ]  # they run side by side
    tested = set()
    for line in others:
        call, _, rest = line.partition(" --models ")
        models, _, given = rest.partition(" ")
        assert call.endswith(": -m pytest -q --reruns 1 -r R -m not slow")
        assert given == words
        tested |= set(models.split(","))
    # One of each, and all of them on the default Python.
    assert tested == {"epoll", "uring"}
    own = [
        line.partition(": ")[2] for name, line in zip(names, runs, strict=True) if name == "python"
    ]
    asked = " ".join(["-m pytest -q --reruns 1 -r R", *arguments])
    if any("tests/cli" in argument for argument in arguments):
        assert own == [asked]
    else:  # everything, in two parts
        assert sorted(own) == [f"{asked} --ignore=tests/loop", f"{asked} tests/loop"]
