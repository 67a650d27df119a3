"""wrk against unmodified applications on each model: 100,000 requests each, and not one error.

    python bench/wrk_100k.py [--requests 100000] [--models uring,epoll] [--apps aiohttp,uvicorn]

Each server is started as its user would: `headrace run --model M ...`.  wrk (a Debian package)
counts time, not requests, so it runs for as many rounds as the requests take.  Exits with 1 if
anything went wrong: a socket error, a status other than 2xx, a server that ended or complained.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import headrace

APPLICATIONS = Path(__file__).parent / "apps"
COMMANDS = {
    "aiohttp": [str(APPLICATIONS / "aiohttp_application.py"), "{port}"],
    "uvicorn": [
        *("-m", "uvicorn", "--app-dir", str(APPLICATIONS), "--port", "{port}"),
        *("--log-level", "warning", "starlette_application:application"),
    ],
}
START_WAIT_S_MAX = 20.0
END_WAIT_S_MAX = 10.0
# A round that never ends is wrk's own time limit's affair.
ROUNDS_MAX = 200


@dataclass
class Row:
    model: str
    app: str
    requests: int = 0
    seconds: float = 0.0
    socket_errors: int = 0
    bad_statuses: int = 0
    server_failure: str = ""

    @property
    def clean(self) -> bool:
        return not (self.socket_errors or self.bad_statuses or self.server_failure)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_listening(server: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + START_WAIT_S_MAX
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"the server does not listen: {' '.join(map(str, server.args))}")  # type: ignore[arg-type]


@contextlib.contextmanager
def started(model: str, app: str, port: int, row: Row) -> Iterator[None]:
    """The application's server while the block runs; what it had to say goes into *row*."""
    arguments = [part.format(port=port) for part in COMMANDS[app]]
    command = [sys.executable, "-m", "headrace", "run", "--model", model, *arguments]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_listening(server, port)
        yield
        if server.poll() is not None:
            row.server_failure = f"ended with {server.returncode}"
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=END_WAIT_S_MAX)
        row.server_failure = row.server_failure or said.strip()
    finally:
        server.kill()
        server.communicate()


def load(port: int, connections: int, seconds: int, row: Row) -> None:
    """One round of wrk, added to *row*."""
    url = f"http://127.0.0.1:{port}/"
    answer = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    done = re.search(r"(\d+) requests in", answer)
    if done is None:
        raise RuntimeError(f"wrk said: {answer}")
    row.requests += int(done[1])
    row.seconds += seconds
    if errors := re.search(r"Socket errors: (.*)", answer):
        row.socket_errors += sum(map(int, re.findall(r"\d+", errors[1])))
    if statuses := re.search(r"Non-2xx or 3xx responses: (\d+)", answer):
        row.bad_statuses += int(statuses[1])


def measure(model: str, app: str, options: argparse.Namespace) -> Row:
    row = Row(model, app)
    port = free_port()
    try:
        with started(model, app, port, row):
            for _ in range(ROUNDS_MAX):
                load(port, options.connections, options.seconds, row)
                if row.requests >= options.requests:
                    break
            else:
                row.server_failure = f"too slow: {row.requests} requests"
    except (RuntimeError, subprocess.SubprocessError) as error:
        row.server_failure = str(error)
    return row


def parse_arguments() -> argparse.Namespace:
    available = ",".join(info.name for info in headrace.models() if info.available)
    parser = argparse.ArgumentParser(description="wrk against unmodified applications")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--models", default=available)
    parser.add_argument("--apps", default=",".join(COMMANDS))
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=5, help="of one round of wrk")
    parser.add_argument("--json", action="store_true", help="rows as JSON instead of a table")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing; on Debian: apt-get install wrk")
    os.environ.setdefault("PYTHONWARNINGS", "default")
    rows = []
    if not options.json:
        print(f"{'model':<12} {'app':<8} {'requests':>9} {'per s':>7} {'errors':>6}", flush=True)
    for model in options.models.split(","):
        for app in options.apps.split(","):
            row = measure(model, app, options)
            rows.append(row)
            if not options.json:
                errors = row.socket_errors + row.bad_statuses
                rate = row.requests / row.seconds if row.seconds else 0
                print(
                    f"{model:<12} {app:<8} {row.requests:>9} {rate:>7.0f} {errors:>6}"
                    f"  {row.server_failure}",
                    flush=True,
                )
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    return int(not all(row.clean for row in rows))


if __name__ == "__main__":
    sys.exit(main())
