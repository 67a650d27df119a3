"""How the tests of ``headrace compare`` start it, and that nothing of it outlives them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from headrace.lab.usage import process_tree

COMPARE = [sys.executable, "-m", "headrace.lab.compare"]
SHORT = ["--seconds", "0.1", "--repeat", "1", "--busy", "5", "--idle", "5"]
ENDED_S = 20
THREADED = """\
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@contextlib.contextmanager
def started(*arguments: str, program: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """``headrace compare`` in a process group of its own, which has ended when the test has.

    It is asked first, since only it knows the services that it has started.
    """
    with subprocess.Popen(
        [*(program or COMPARE), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDED_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(*arguments: str, timeout_s: float = 80) -> subprocess.CompletedProcess[str]:
    with started(*arguments) as process:
        out, err = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_json(tmp_path: Path, *arguments: str) -> dict:
    """The report; on a busy machine every round may be flawed, and then the status is 1."""
    path = tmp_path / "result.json"
    answer = run("--json", str(path), *arguments)
    assert answer.returncode in (0, 1), answer.stderr
    return json.loads(path.read_text())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def descendants(process: subprocess.Popen[str], start: str) -> list[int]:
    """The processes below this one whose command line starts so, or holds it for a script."""
    return [
        pid
        for pid in process_tree(process.pid)[1:]
        if (line := command_line(pid)).startswith(start) or f"/{start}" in line
    ]


def is_running(pid: int, word: str) -> bool:
    """Whether it is still that process: numbers come round again."""
    return word in command_line(pid)


def processes_with(word: str) -> list[str]:
    found = [command_line(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return [line for line in found if word in line]


def wait_until(holds, seconds: float = 20.0):
    """Polls for a condition of another process; a limit, not a measure."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


def answered(row: dict) -> int:
    """How many requests were answered; a round too short for figures has some, too."""
    return sum(one["requests"] for one in row["rounds"])
