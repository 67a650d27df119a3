"""What the log says of the master and its workers."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import test_master
from ftp_server import Client, wait_until
from test_master import Command

serve = test_master.serve


def reloaded(command: Command) -> set[int]:
    """The processes that have."""
    return set(map(int, re.findall(r" reloaded .*pid=(\d+)", command.log())))


def test_what_is_wrong_at_a_reload_is_said_once(
    serve: Callable[..., Command], users_file: Path
) -> None:
    text = users_file.read_text()
    command = serve("--workers", "3", "--users", str(users_file)).ready()
    users_file.write_text("wrong\n")
    command.signal(signal.SIGHUP)
    wait_until(lambda: " reload_failed " in command.log(), "the master's reload")
    users_file.write_text(text)
    command.signal(signal.SIGHUP)
    everybody = {command.process.pid, *command.workers()}
    wait_until(lambda: reloaded(command) == everybody, "master and workers")
    assert command.log().count(" reload_failed ") == 1
    assert f"pid={command.process.pid}" in command.log()


def test_a_worker_that_replaces_another_is_a_line_and_so_is_the_end(
    serve: Callable[..., Command],
) -> None:
    command = serve("--limit", "drain_timeout_s=77").ready()
    (worker,) = command.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: " worker_replaced " in command.log(), "the new worker")
    (successor,) = command.workers()
    assert f"worker_replaced pid={successor}\n" in command.log()
    with Client(command.port()) as client:
        client.log_in()
        command.signal(signal.SIGTERM)
        assert client.answer().startswith("421")
    assert command.end() == 0
    assert "draining signal=SIGTERM seconds=77.0\n" in command.log()
