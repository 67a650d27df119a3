"""Workers that are killed in the midst of an upload: their successors tidy up."""

from __future__ import annotations

import ftplib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.serve.upload import RESERVED_PREFIX

WAIT_S_MAX = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    ends_s = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(RESERVED_PREFIX)]


@pytest.fixture
def command(served: Path, tmp_path: Path) -> list[str]:
    words = ["--ftp", "127.0.0.1:0", "--http", "off", "--anonymous", "rw"]
    log = ["--log-file", str(tmp_path / "log")]
    return [sys.executable, "-m", "headrace", "serve", str(served), *words, *log]


def port_of(log: Path) -> int:
    wait_until(lambda: log.exists() and " ready " in log.read_text())
    found = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
    assert found
    return int(found[1])


def workers_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_successor_of_a_killed_worker_removes_its_temporaries(served, tmp_path, started, command):
    with started(command) as master:
        client = ftplib.FTP()
        client.connect("127.0.0.1", port_of(tmp_path / "log"), timeout=WAIT_S_MAX)
        client.login()
        sock = client.transfercmd("STOR folder/deep/new")
        sock.sendall(b"half")
        wait_until(lambda: temporaries(served / "folder" / "deep"))
        for worker in workers_of(master.pid):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not temporaries(served / "folder" / "deep"))
        wait_until(lambda: "stale_uploads_removed files=1" in (tmp_path / "log").read_text())
        assert os.listdir(served / "folder" / "deep") == []
        sock.close()
        client.close()
        master.send_signal(signal.SIGTERM)
        assert master.wait(WAIT_S_MAX) == 0


def test_temporaries_are_removed_at_the_start(served, tmp_path, started, command):
    (served / "folder" / f"{RESERVED_PREFIX}00").write_text("half")
    with started(command, stderr=subprocess.DEVNULL) as master:
        wait_until(lambda: not temporaries(served / "folder"))
        master.send_signal(signal.SIGTERM)
        assert master.wait(WAIT_S_MAX) == 0
