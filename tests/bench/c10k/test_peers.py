"""One tiny run against a real server, on loopback and without a box."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scripted import FILE_BYTES

SOURCES = Path(__file__).parents[3] / "src"


@pytest.fixture
def server_port(files):
    command = [sys.executable, "-m", "headrace", "serve", str(files)]
    command += ["--ftp", "127.0.0.1:0", "--http", "off", "--limit", "clients_max=100"]
    command += ["--limit", "drain_timeout_s=0.5"]  # the load's end is no polite one
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(SOURCES)}, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        port = 0
        for line in server.stderr:
            if "listening" in line:
                port = int(line.rpartition(":")[2])
            if " ready " in line:
                break
        try:
            yield port
        finally:
            server.terminate()
            server.communicate(timeout=30)


def test_headrace_serves_every_user_of_the_load(files, run_load, server_port):
    words = ("--users=20", "--ramp=200", "--rate=40000", "--share-min=0.2", "--seconds=2.5")
    last = run_load(server_port, *words)
    assert last["reasons"] == {}
    assert last["alive"] == 20
    assert last["transfers"] >= 20
    assert last["bytes"] >= 20 * FILE_BYTES
