"""A recording: the service in a process of its own, the client here, both on one clock."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from headrace.lab.process import Cores, ServerProcess, server_process
from headrace.trace import strace
from headrace.trace.client import Request, ask

START_S_MAX = 30.0
END_S_MAX = 30.0
REQUESTS = 5
"""So many are recorded, and the one whose phase 2 is the middle one is shown."""
CHUNK_BYTES = 65536


class RecordingError(Exception):
    """There is nothing to show; the message says why, in one line."""


@dataclass(frozen=True)
class Recording:
    """Requests of one connection, with what both sides and, if it was traced, strace noted."""

    requests: list[Request]
    loop_thread: int
    fd: int
    asked: list[tuple[int, str, int]]
    waited: list[tuple[int, int, int]]
    told: list[tuple[int, int, int]]
    calls: list[strace.Call] | None
    """None: without strace."""
    duplicates: frozenset[int] = frozenset()
    """Other descriptors of the connection: a model may receive from one of its own."""

    def is_of_connection(self, call: strace.Call) -> bool:
        return call.fd == self.fd or call.fd in self.duplicates


def record(model: str, size: int, delay_s: float, *, traced: bool) -> Recording:
    """One recording.

    Raises:
        RecordingError: the service ended or said nothing.
        NoAnswerError: it did not answer the client as it should.
    """
    program = [sys.executable, "-P", "-m", "headrace.trace.service", model]
    # The service names its model; a default that does not exist here is not its own.
    environment = {name: text for name, text in os.environ.items() if name != "HEADRACE_MODEL"}
    with tempfile.TemporaryDirectory(prefix="headrace-trace-") as folder:
        output = os.path.join(folder, "calls")
        command = strace.command(program, output) if traced else program
        cores = Cores.choose()
        own = os.sched_getaffinity(0)
        with server_process(command, environment, cores) as server:
            try:
                # A core of its own: who sends must not be in the way of who receives.
                os.sched_setaffinity(0, {cores.load})
                offset_ns = strace.realtime_offset_ns()
                begun = read_line(server, START_S_MAX)
                requests = ask(begun["port"], size, delay_s, REQUESTS)
                told = read_line(server, END_S_MAX)
                wait_end(server)
            finally:
                os.sched_setaffinity(0, own)
        calls = strace.read_calls(output, offset_ns) if traced else None
    return Recording(
        requests,
        begun["thread"],
        told["fd"],
        [(at, kind, fd) for at, kind, fd in told["asked"]],
        [(start, end, rounds) for start, end, rounds in told["waited"]],
        [(start, end, length) for start, end, length in told["told"]],
        calls,
        frozenset(told["duplicates"]),
    )


def read_line(server: ServerProcess, patience_s: float) -> dict[str, Any]:
    """The next line of JSON that the service writes."""
    assert server.popen.stdout is not None
    fd = server.popen.stdout.fileno()
    end_s = time.monotonic() + patience_s
    line = b""
    while not line.endswith(b"\n"):
        left_s = end_s - time.monotonic()
        if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
            raise RecordingError(f"the service said nothing for {patience_s:g} s")
        piece = os.read(fd, CHUNK_BYTES)
        if not piece:
            wait_end(server)
            raise RecordingError(server.last_words())
        line += piece
    answer: dict[str, Any] = json.loads(line)
    return answer


def wait_end(server: ServerProcess) -> None:
    """Until it is gone: strace has written everything then."""
    try:
        server.popen.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        raise RecordingError(f"the service did not end within {END_S_MAX:g} s") from None
