"""What a process has loaded is seen from outside."""

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.lab.other_loops import other_loops

MAPS = "import mmap; file = open({!r}); kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)"


@pytest.fixture
def process_after():
    """The id of a process that has run a line of Python, and waits."""
    processes = []

    def start(line: str) -> int:
        code = f"{line}\nimport sys; print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"\n"
        return process.pid

    yield start
    for process in processes:
        process.communicate()


def distribution(folder: Path, name: str, version: str) -> None:
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_other_loops_names_one_that_is_loaded_with_its_version(process_after):
    uvloop = pytest.importorskip("uvloop")
    pids = [process_after("import asyncio"), process_after("import uvloop")]
    assert other_loops(pids) == [f"uvloop {uvloop.__version__}"]


@pytest.mark.parametrize("path", ["rloop/_rloop.abi3.so", "rloop.cpython-311.so"])
def test_other_loops_knows_a_package_and_a_lone_module(process_after, tmp_path, path):
    folder = tmp_path / "with blanks"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(b"mapped")
    pid = process_after(MAPS.format(str(folder / path)))
    assert other_loops([pid]) == ["rloop"]
    distribution(folder, "rloop", "1.5")
    assert other_loops([pid]) == ["rloop 1.5"]


def test_other_loops_finds_nothing_in_plain_asyncio_or_in_a_process_that_is_gone(process_after):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert other_loops([process_after("import asyncio"), ended.pid]) == []
