"""A disk that is full, really: a file system of 64 KiB that only one child sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "full_disk.py"
# In a mount namespace of its own, which ends with the child; the user namespace is what permits
# it to others than root, where the system lets them have one.
ON_SMALL_DISK = [
    "unshare", "--mount", "--map-root-user",
    "sh", "-ec", 'mount -t tmpfs -o size=64k tmpfs "$1"; shift; exec "$@"', "sh",
]  # fmt: skip
WAIT_S_MAX = 30


@pytest.fixture
def on_small_disk(tmp_path):
    """Run a command with that file system on tmp_path; skips where nobody may mount one."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ON_SMALL_DISK, str(tmp_path), *command],
            capture_output=True, text=True, timeout=WAIT_S_MAX, env=dict(os.environ), check=False,
        )  # fmt: skip

    try:
        refused = run("true")
    except FileNotFoundError as error:
        pytest.skip(f"no small disk can be had here: {error}")
    if refused.returncode != 0:
        pytest.skip(f"no small disk can be had here: {refused.stderr.strip()}")
    return run


def test_full_disk_costs_neither_the_connection_nor_what_it_carries(model, on_small_disk, tmp_path):
    command = [sys.executable, "-W", "error", str(PROGRAM), model, str(tmp_path)]
    ended = on_small_disk(*command)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {
        "error": "ENOSPC",
        "received_all": True,
        "echo": "still there?\n",
        "disk_is_full": True,
        "sent_what_is_there": True,
        "sent_the_holes": True,
    }
