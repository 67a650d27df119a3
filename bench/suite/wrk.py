"""wrk as a load generator: the one that others measure HTTP servers with.

It counts time in whole seconds, and connects anew for each stretch.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from headrace.lab.load import LoadError
from headrace.lab.window import Window

SCRIPT = Path(__file__).with_suffix(".lua")
PATIENCE_S = 30.0
SECONDS_MIN = 1
KINDS = {
    "connect": "connect_failed",
    "read": "short_reply",
    "write": "reset",
    "status": "http_status",
    "timeout": "no_reply",
}
"""wrk's errors by the names that the lab has for them."""


class WrkLoad:
    def __init__(self, address: tuple[str, int], *, busy: int) -> None:
        self.url = f"http://{address[0]}:{address[1]}/"
        self.busy = busy

    def connect(self) -> None:
        if shutil.which("wrk") is None:
            raise LoadError("wrk is missing (apt-get install wrk)")

    def run(self, seconds: float) -> Window:
        whole_s = max(SECONDS_MIN, math.ceil(seconds))
        command = ["wrk", "-t1", f"-c{self.busy}", f"-d{whole_s}s", "-s", str(SCRIPT), self.url]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=whole_s + PATIENCE_S
        )
        if answer.returncode != 0:
            raise LoadError(f"wrk: {answer.stderr.strip() or answer.stdout.strip()}")
        return window_of(json.loads(answer.stdout.splitlines()[-1]))

    def close(self) -> None:
        """Nothing of it lives between its stretches."""


def window_of(found: dict[str, Any]) -> Window:
    """Its summary as the lab's window; each of the thousand parts stands for its requests."""
    latency = Counter(int(value * 1000) for value in found["latency_us"])
    parts = len(found["latency_us"])
    each = max(1, found["requests"] // parts)
    return Window(
        seconds=found["seconds"],
        requests=found["requests"],
        errors={KINDS[kind]: found[kind] for kind in KINDS if found[kind]},
        latency_ns=tuple((value, count * each) for value, count in sorted(latency.items())),
    )
