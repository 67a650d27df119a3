"""``headrace compare`` from end to end: short runs, real servers, nothing left behind."""

import base64
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest
from comparing import (
    COMPARE,
    SHORT,
    answered,
    command_line,
    descendants,
    is_running,
    run,
    run_json,
    started,
    wait_until,
)
from hdrh.histogram import HdrHistogram

from headrace.lab.columns import COLUMNS
from headrace.lab.service import MODES

NOTHING = "headrace compare: nothing was measured\n"
ENDLESS = ("--models", "asyncio", "--seconds", "1000", "--busy", "2", "--idle", "0")
STOPPED_EARLY = """\
import os, signal, sys
from headrace.lab import compare
compare.prepare = lambda options: os.kill(os.getpid(), signal.SIGINT)
sys.exit(compare.main([]))
"""
# A parent that waits to be killed, and says who its child is.
PARENT = """\
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""
# A thread starts the comparison and ends, its process goes on.
THREAD = """\
import subprocess, sys, threading
children = []
def start():
    children.append(subprocess.Popen(sys.argv[1:]))
thread = threading.Thread(target=start)
thread.start()
thread.join()
sys.exit(children[0].wait())
"""


@pytest.mark.parametrize("mode", MODES)
def test_compare_measures_asyncio_in_each_mode(tmp_path, mode):
    report = run_json(tmp_path, *SHORT, "--mode", mode, "--models", "asyncio")
    (row,) = report["rows"]
    assert (row["model"], row["kind"], row["errors"]) == ("asyncio", "peer", 0)
    (only,) = row["rounds"]
    assert only["requests"] > 0
    assert only["cpu_us_per_request"] > 0
    assert only["rss_bytes"] > 1_000_000
    assert report["flags"]["mode"] == mode


def test_compare_measures_models_peers_and_floors_side_by_side(tmp_path):
    report = run_json(tmp_path, *SHORT, "--models", "epoll,uring,asyncio,c-epoll")
    assert [row["model"] for row in report["rows"]] == ["epoll", "uring", "asyncio", "c-epoll"]
    by_model = {row["model"]: row for row in report["rows"]}
    for row in report["rows"]:
        assert row["errors"] == 0 or row["requests_per_s"] is None
    epoll = by_model["epoll"]
    assert answered(epoll) > 0
    # By the kernel, or by the loop's own count.
    assert epoll["rounds"][0]["syscalls_per_request"] > 0
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


def test_compare_writes_one_page_that_needs_no_other_file(tmp_path):
    path = tmp_path / "result.html"
    run(*SHORT, "--models", "asyncio,epoll", "--html", str(path))
    page = path.read_text()
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
    assert answered(epoll) > 0
    assert epoll["errors"] == 0


def test_compare_prints_every_column_into_a_pipe():
    answer = run(*SHORT, "--models", "asyncio")
    assert "\x1b" not in answer.stdout + answer.stderr
    head, units = answer.stdout.splitlines()[1:3]
    assert head.split() == ["model", *(column.name for column in COLUMNS)]
    assert units.split() == [column.unit for column in COLUMNS if column.unit]
    assert "asyncio" in answer.stdout


@pytest.mark.parametrize("columns", [60, 80])
def test_compare_prints_no_line_beyond_the_terminal(columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [*COMPARE, *SHORT, "--models", "asyncio,epoll-edge"], start_new_session=True,
        stdout=theirs, stderr=subprocess.DEVNULL, env=environment | {"TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # what the last writer's end looks like here
    os.close(ours)
    assert process.returncode in (0, 1)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in shown.decode()
    assert any(line.startswith("epoll-edge ") for line in lines)


def test_compare_writes_json_to_standard_output_for_a_dash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = run(*SHORT, "--models", "asyncio", "--json", "-")
    assert json.loads(answer.stdout)["rows"][0]["model"] == "asyncio"
    assert "requests" in answer.stderr  # the table
    assert os.listdir(tmp_path) == []


def test_compare_writes_its_page_to_standard_output_for_a_dash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = run(*SHORT, "--models", "asyncio", "--html", "-")
    assert answer.stdout.startswith("<!doctype html>")
    assert answer.stdout.endswith("</html>\n")
    assert os.listdir(tmp_path) == []


def test_compare_whose_output_nobody_reads_ends_by_sigpipe_with_its_files_written(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    page = tmp_path / "page.html"
    command = [
        sys.executable,
        "-m",
        "headrace",
        "compare",
        *SHORT,
        "--models",
        "asyncio",
        "--json",
        "-",
        "--html",
        str(page),
    ]
    answer = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert answer.returncode == -signal.SIGPIPE
    assert "Exception ignored" not in answer.stderr
    assert page.read_text().endswith("</html>\n")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_compare_stopped_before_the_first_row_says_that_nothing_was_measured(tmp_path, stop):
    path = tmp_path / "result.json"
    with started(*ENDLESS, "--mode", "sockets", "--json", str(path)) as process:
        (server,) = wait_until(lambda: descendants(process, "service.py"))
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + stop, "")
    assert err == f"{NOTHING}wrote {path}\n"
    report = json.loads(path.read_text())
    assert (report["interrupted"], report["rows"]) == (True, [])
    assert not is_running(server, "service.py")


def test_compare_stopped_before_it_has_begun_says_that_nothing_was_measured():
    with started(program=(sys.executable, "-c", STOPPED_EARLY)) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", NOTHING)


def test_compare_killed_outright_leaves_no_server():
    with started(*ENDLESS, "--mode", "streams") as process:
        (server,) = wait_until(lambda: descendants(process, "service.py"))
        process.kill()
        process.wait()
        wait_until(lambda: not is_running(server, "service.py"))


def test_compare_ends_when_its_parent_is_killed():
    with started(*COMPARE, *ENDLESS, program=(sys.executable, "-c", PARENT)) as parent:
        compare = int(parent.stdout.readline())
        (server,) = wait_until(lambda: descendants(parent, "service.py"))
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_running(compare, "headrace.lab.compare"))
        assert not is_running(server, "service.py")


def test_compare_goes_on_when_the_thread_that_started_it_ends():
    command = (*COMPARE, *SHORT, "--models", "asyncio", "--json", "-")
    with started(*command, program=(sys.executable, "-c", THREAD)) as parent:
        out, _ = parent.communicate(timeout=60)
    assert json.loads(out)["interrupted"] is False


def test_compare_under_nohup_outlives_its_parent_and_a_hangup():
    with started("nohup", *COMPARE, *ENDLESS, program=(sys.executable, "-c", PARENT)) as parent:
        compare = int(parent.stdout.readline())
        wait_until(lambda: descendants(parent, "service.py"))
        parent.kill()
        parent.wait()
        try:
            os.kill(compare, signal.SIGHUP)
            assert "headrace.lab.compare" in command_line(compare)
        finally:
            os.kill(compare, signal.SIGTERM)
        wait_until(lambda: not is_running(compare, "headrace.lab.compare"))
