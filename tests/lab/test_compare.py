"""``headrace compare`` from end to end: short runs, real servers, nothing left behind."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram

from headrace.lab.process import process_tree
from headrace.lab.service import MODES

COMPARE = [sys.executable, "-m", "headrace.lab.compare"]
SHORT = ["--seconds", "0.1", "--repeat", "1", "--busy", "5", "--idle", "5"]
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
AIOHTTP = """\
import sys
from aiohttp import web
async def plain(request):
    return web.Response(text="hello")
async def chunked(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"hello")
    return response
application = web.Application()
application.add_routes([web.get("/", plain), web.get("/chunked", chunked)])
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
STOPPED_EARLY = """\
import os, signal, sys
from headrace.lab import compare
compare.prepare = lambda options: os.kill(os.getpid(), signal.SIGINT)
sys.exit(compare.main([]))
"""


def run(*arguments: str, timeout_s: float = 50) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMPARE, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def run_json(tmp_path: Path, *arguments: str) -> dict:
    path = tmp_path / "result.json"
    answer = run("--json", str(path), *arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(path.read_text())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def descendants(process: subprocess.Popen, start: str) -> list[int]:
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


@pytest.mark.parametrize("mode", MODES)
def test_compare_measures_asyncio_in_each_mode(tmp_path, mode):
    report = run_json(tmp_path, *SHORT, "--mode", mode, "--models", "asyncio")
    (row,) = report["rows"]
    assert (row["model"], row["kind"], row["errors"]) == ("asyncio", "peer", 0)
    assert row["requests_per_s"] > 0
    assert row["latency_us"]["p50"] > 0
    assert row["cpu_us_per_request"] > 0
    assert row["rss_bytes"] > 1_000_000
    assert report["flags"]["mode"] == mode


def test_compare_measures_models_peers_and_floors_side_by_side(tmp_path):
    report = run_json(tmp_path, *SHORT, "--models", "epoll,uring,asyncio,c-epoll")
    assert [row["model"] for row in report["rows"]] == ["epoll", "uring", "asyncio", "c-epoll"]
    by_model = {row["model"]: row for row in report["rows"]}
    for row in report["rows"]:
        assert row["errors"] == 0 or row["requests_per_s"] is None
    epoll = by_model["epoll"]
    assert epoll["requests_per_s"] > 0
    assert epoll["syscalls_per_request"] > 0  # by the kernel, or by the loop's own count
    assert epoll["rounds"][0]["statistics"]["loop_iterations"] > 0


def test_compare_writes_everything_measured_as_json(tmp_path):
    report = run_json(tmp_path, *SHORT, "--repeat", "2", "--models", "asyncio")
    assert {"cpu", "cores", "kernel", "python"} <= set(report["machine"])
    assert report["schema"] == 1
    assert report["interrupted"] is False
    assert report["flags"]["busy"] == 5
    (row,) = report["rows"]
    assert len(row["rounds"]) == 2
    assert row["requests"] == sum(one["requests"] for one in row["rounds"])
    for one in row["rounds"]:
        histogram = HdrHistogram.decode(one["histogram"])
        assert histogram.get_total_count() == one["requests"]
        assert base64.b64decode(one["histogram"])


def test_compare_prints_a_table_that_fits_a_file(tmp_path):
    answer = run(*SHORT, "--models", "asyncio")
    assert answer.returncode == 0
    assert "\x1b" not in answer.stdout + answer.stderr
    table = [line for line in answer.stdout.splitlines() if "│" in line or "━" in line]
    assert table
    assert max(map(len, table)) <= 120
    assert "requests/s" in answer.stdout
    assert "asyncio" in answer.stdout


def test_compare_writes_one_page_that_needs_no_other_file(tmp_path):
    path = tmp_path / "result.html"
    answer = run(*SHORT, "--models", "asyncio,epoll", "--html", str(path))
    assert answer.returncode == 0, answer.stderr
    page = path.read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script|<link|https?://", page)
    assert "prefers-color-scheme" in page
    assert "asyncio" in page


def test_compare_ends_with_1_when_a_report_cannot_be_written():
    arguments = ("--models", "asyncio", "--busy", "2", "--idle", "0", "--repeat", "1")
    ended = run(*arguments, "--seconds", "0.2", "--json", "/dev/full")
    assert ended.returncode == 1
    assert "headrace compare: /dev/full: No space left on device" in ended.stderr


def test_compare_says_that_select_cannot_carry_the_load(tmp_path):
    report = run_json(
        tmp_path, "--models", "select,epoll", "--busy", "10", "--idle", "1100",
        "--seconds", "0.1", "--repeat", "1",
    )  # fmt: skip
    select, epoll = report["rows"]
    assert select["requests_per_s"] is None
    assert select["trusted"] is False
    assert "1023" in select["notes"][0]
    assert epoll["requests_per_s"] > 0
    assert epoll["errors"] == 0


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_compare_loads_an_aiohttp_application(tmp_path, path):
    pytest.importorskip("aiohttp")
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--models", "uring,epoll,asyncio",
        "--http", f"http://127.0.0.1:{port}{path}", "--", sys.executable, "-c", AIOHTTP, str(port),
    )  # fmt: skip
    assert [row["model"] for row in report["rows"]] == ["uring", "epoll", "asyncio"]
    for row in report["rows"]:
        assert row["errors"] == 0, row["notes"]
        assert row["requests_per_s"] > 0


def test_compare_loads_a_threaded_server_behind_a_shell(tmp_path):
    port = free_port()
    script = tmp_path / "server.py"
    script.write_text(THREADED)
    report = run_json(
        tmp_path, *SHORT, "--models", "asyncio", "--http", f"http://localhost:{port}/",
        "--", "sh", "-c", f"{sys.executable} {script} {port} & wait",
    )  # fmt: skip
    (row,) = report["rows"]
    assert row["errors"] == 0, row["notes"]
    assert row["cpu_us_per_request"] > 0
    assert processes_with(str(script)) == []


def test_compare_gives_the_reason_of_a_command_that_fails():
    answer = run(
        *SHORT, "--models", "asyncio", "--http", f"http://127.0.0.1:{free_port()}/",
        "--", sys.executable, "-c", "raise SystemExit('no such configuration')",
    )  # fmt: skip
    assert answer.returncode == 1
    assert "the server ended with status 1: no such configuration" in answer.stdout


def test_compare_gives_the_reason_of_a_command_that_does_not_exist():
    url = f"http://127.0.0.1:{free_port()}/"
    answer = run(*SHORT, "--models", "asyncio", "--http", url, "--", "/no/such/program")
    assert answer.returncode == 1
    assert "No such file or directory: '/no/such/program'" in answer.stdout


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_compare_shows_what_was_measured_when_it_is_stopped(started, tmp_path, stop):
    path = tmp_path / "result.json"
    with started(
        [*COMPARE, "--seconds", "1000", "--mode", "sockets",
         "--busy", "2", "--idle", "0", "--models", "asyncio", "--json", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        (server,) = wait_until(lambda: descendants(process, "service.py"))
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + stop
    assert "interrupted; measured so far:" in err
    assert "Traceback" not in err
    assert "requests/s" in out
    assert json.loads(path.read_text())["interrupted"] is True
    assert not is_running(server, "service.py")


def test_compare_keeps_the_rows_that_were_done_when_it_is_stopped(started, tmp_path):
    path = tmp_path / "result.json"
    port = free_port()
    script = tmp_path / "server.py"
    script.write_text(THREADED)
    again = tmp_path / "again"
    # The second start of the command never answers: by then the first round is done.
    command = f"test -e {again} && exec sleep 1000; touch {again}; exec python3 {script} {port}"
    with started(
        [*COMPARE, *SHORT, "--repeat", "2", "--models", "asyncio", "--json", str(path),
         "--http", f"http://127.0.0.1:{port}/", "--", "sh", "-c", command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        (server,) = wait_until(lambda: descendants(process, "sleep 1000"))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (row,) = json.loads(path.read_text())["rows"]
    assert row["requests_per_s"] > 0
    assert len(row["rounds"]) == 1
    assert "asyncio" in out
    assert not is_running(server, "sleep 1000")


def test_compare_killed_outright_leaves_no_server(started):
    with started(
        [*COMPARE, "--models", "asyncio", "--seconds", "1000", "--mode", "streams"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        (server,) = wait_until(lambda: descendants(process, "service.py"))
        process.kill()
        process.wait()
    wait_until(lambda: not is_running(server, "service.py"))


def test_compare_stopped_before_it_has_begun_shows_no_traceback(started):
    with started(
        [sys.executable, "-c", STOPPED_EARLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
