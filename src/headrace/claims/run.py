"""Running experiments one after the other, each in a process that is ended with all it started."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from headrace.claims.claim import FAILED, Claim, Curve, Finding, Scale
from headrace.lab.process import Cores, ServerProcess, server_process

CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Result:
    """A claim, and what was found."""

    claim: Claim
    finding: Finding
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As it goes into the JSON; see docs/claims.md."""
        curve = self.finding.curve
        return self.claim.described() | {
            "verdict": self.finding.verdict,
            "number": self.finding.number,
            "figures": dict(self.finding.figures),
            "curve": None if curve is None else {
                "x": curve.x,
                "y": curve.y,
                "lines": {who: list(map(list, points)) for who, points in curve.lines.items()},
            },
            "seconds": round(self.seconds, 2),
        }  # fmt: skip


def run_claim(claim: Claim, scale: Scale) -> Result:
    """The claim's experiment, in a process of its own; what goes wrong there is its finding."""
    start_s = time.monotonic()
    # -P: a socket.py in the working directory would be imported instead of Python's.
    command = [sys.executable, "-P", "-m", "headrace.claims.worker", claim.name, scale.name]
    # Experiments name their models; a default that does not exist here is not theirs.
    environment = {name: text for name, text in os.environ.items() if name != "HEADRACE_MODEL"}
    with server_process(command, environment, all_cores()) as worker:
        answer = read_answer(worker, start_s + scale.limit_s)
        if answer is None:
            finding = Finding(FAILED, f"it took longer than {scale.limit_s:g} s and was ended")
        else:
            worker.popen.wait()
            finding = finding_of(answer) or Finding(FAILED, last_words(worker))
    return Result(claim, finding, time.monotonic() - start_s)


def all_cores() -> Cores:
    """Experiments load themselves: no core is kept from them."""
    allowed = frozenset(os.sched_getaffinity(0))
    return Cores(load=min(allowed), server=allowed, shared=True)


def read_answer(worker: ServerProcess, end_s: float) -> bytes | None:
    """All that it writes until it closes its output; None if that takes too long."""
    assert worker.popen.stdout is not None
    fd = worker.popen.stdout.fileno()
    answer = b""
    while True:
        left_s = end_s - time.monotonic()
        if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
            return None
        piece = os.read(fd, CHUNK_BYTES)
        if not piece:
            return answer
        answer += piece


def last_words(worker: ServerProcess) -> str:
    """How it ended without an answer, in one line."""
    status = worker.popen.returncode
    how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"its process {how}: {(worker.last_lines() or ['no message'])[-1]}"


def finding_of(answer: bytes) -> Finding | None:
    """What a worker wrote; None if it did not come so far."""
    try:
        told = json.loads(answer)
    except ValueError:
        return None
    curve = told.pop("curve")
    return Finding(**told, curve=Curve(**curve) if curve else None)
