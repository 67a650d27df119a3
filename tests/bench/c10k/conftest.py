"""The load generator, built once, and the files that it fetches."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted import FILE_BYTES

from c10k import install


@pytest.fixture(scope="session")
def load_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("load") / "load"
    install.compile_load(target)
    return target


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for at in range(3):
        (folder / f"{at:04}.bin").write_bytes(random.Random(at).randbytes(FILE_BYTES))
    return folder


@pytest.fixture
def run_load(load_program: Path, files: Path):  # type: ignore[no-untyped-def]
    """Runs the load generator on a port of ours; answers its last line."""

    def run(port: int, *words: str) -> dict[str, Any]:
        command = [str(load_program), "--host=127.0.0.1", f"--port={port}", f"--files={files}"]
        answer = subprocess.run(
            [*command, "--read-interval=0.01", *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        last: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        return last

    return run
