"""``headrace trace``: one request on each model, and one clear line where that cannot be."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

import headrace
from headrace.lab.usage import process_tree
from headrace.trace import command
from headrace.trace.strace import refusal

COMMAND = [sys.executable, "-m", "headrace", "trace"]
PATIENCE_S = 30
needs_strace = pytest.mark.skipif(refusal() is not None, reason=str(refusal()))
# What a function of C's library is called in the kernel.
IN_KERNEL = {"recv": "recvfrom", "send": "sendto", "pselect": "pselect6"}


def recorded(capsys, *words):
    """What ``--json -`` says."""
    assert command.main([*words, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def spans(timeline):
    return [span for lane in timeline["lanes"] for span in lane["spans"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which model? known are "),
        (["kqueue"], "unknown model 'kqueue': known are "),
        (["epoll", "poll"], "unrecognized arguments: poll"),
        (["epoll", "--size", "0"], "--size: '0' is not a whole number from 1 to 16,777,216"),
        (["epoll", "--size", "1e3"], "--size: '1e3' is not a whole number"),
        (["epoll", "--delay", "-1"], "--delay: '-1' is not a whole number from 0 to 1,000"),
        (["epoll", "--delay", "1001"], "--delay: '1001' is not a whole number from 0 to 1,000"),
        (["epoll", "--sv", "x"], "unrecognized arguments: --sv x"),
        (["epoll", "--svg"], "--svg: expected one argument"),
        (["epoll", "--svg", "/nowhere/at/all.svg"], "no directory '/nowhere/at'"),
        (["epoll", "--json", "/"], "'/' is a directory"),
        (["epoll", "--svg", ""], "--svg: '' names no file; - is standard output"),
        (["epoll", "--json", "-", "--svg", "-"], "only one of them fits standard output"),
        (["epoll", "--json", "x", "--svg", "./x"], "--json and --svg are the same file: './x'"),
    ],
)
def test_trace_names_a_bad_argument(words, said, capsys):
    assert command.main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("headrace trace: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_trace_of_a_model_that_cannot_be_had_says_why(monkeypatch, capsys):
    known = [replace(info, available=False, reason="not here") for info in headrace.models()]
    monkeypatch.setattr(command, "models", lambda: known)
    assert command.main(["epoll"]) == 2
    assert capsys.readouterr().err == "headrace trace: not here\n"


def check_phases(timeline):
    assert 0 < timeline["sent"] <= timeline["there"] <= timeline["told"] <= timeline["end"]
    for span in spans(timeline):
        assert 0 <= span["start"] <= span["end"] <= timeline["end"]


def test_trace_of_each_model_has_its_phases_in_order(model, capsys):
    found = recorded(capsys, model, "--no-strace", "--delay", "1")
    assert found["model"]["name"] == model
    assert found["strace"] == {"used": False, "reason": "not asked for"}
    check_phases(found["untraced"])
    assert [one["who"] for one in found["phases"]] == [
        found["model"]["waits"], found["model"]["copies"],
    ]  # fmt: skip


@needs_strace
def test_trace_of_each_model_names_the_calls_that_it_declares(model, capsys):
    found = recorded(capsys, model, "--delay", "2")
    assert found["strace"] == {"used": True, "reason": None}
    check_phases(found["traced"])
    declared = {IN_KERNEL.get(name, name) for name in found["model"]["system_calls"]}
    lanes = [lane for lane in found["traced"]["lanes"] if "thread" in lane["name"]]
    busy = {
        span["name"]
        for lane in lanes
        for span in lane["spans"]
        if span["kind"] in ("waits", "copies")
    }
    assert busy
    assert busy <= declared


@needs_strace
def test_trace_of_each_model_sees_who_copies_as_the_model_declares(model, capsys):
    found = recorded(capsys, model, "--delay", "2")
    copies = found["phases"][1]["who"]
    declared = found["model"]["copies"]
    if "loop" in declared:
        assert copies.startswith("the loop's thread, in ")
    elif "kernel" in declared:
        assert copies.startswith("the kernel")
    else:
        assert copies.startswith("thread ")


@needs_strace
@pytest.mark.parametrize("size", [1, 300_000])
def test_trace_shows_requests_of_any_size(capsys, size):
    found = recorded(capsys, "epoll", "--size", str(size), "--delay", "0")
    check_phases(found["traced"])
    assert found["size_bytes"] == size


def test_trace_writes_what_it_shows(tmp_path, capsys):
    files = {kind: tmp_path / f"request.{kind}" for kind in ("json", "svg")}
    words = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert command.main(["epoll", "--delay", "1", *words]) == 0
    shown = capsys.readouterr()
    found = json.loads(files["json"].read_text())
    ElementTree.parse(files["svg"])
    for phase in found["phases"]:
        assert phase["who"] in shown.out.replace("\n", " ")
    assert shown.err.splitlines() == [f"wrote {path}" for path in files.values()]


def test_trace_leaves_standard_output_to_the_document(capsys):
    assert command.main(["poll", "--delay", "1", "--no-strace", "--svg", "-"]) == 0
    shown = capsys.readouterr()
    assert ElementTree.fromstring(shown.out).tag.endswith("svg")
    assert "One request on poll" in shown.err


def test_trace_json_has_the_documented_fields(capsys):
    found = recorded(capsys, "epoll", "--delay", "1", "--no-strace")
    documented = (Path(__file__).parents[2] / "docs" / "trace.md").read_text()
    assert found["schema"] == 1
    timeline = found["untraced"]
    for names in (found, timeline, timeline["lanes"][0], spans(timeline)[0], found["phases"][0]):
        for name in names:
            assert f"`{name}`" in documented


def test_trace_fails_where_a_file_cannot_be_written(capsys):
    assert command.main(["epoll", "--delay", "0", "--no-strace", "--svg", "/dev/full"]) == 1
    assert "headrace trace: /dev/full: No space left on device\n" in capsys.readouterr().err


def test_trace_without_strace_goes_on_and_says_so_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tmp_path / "request.svg"
    assert command.main(["epoll", "--delay", "1", "--svg", str(found)]) == 0
    said = "own timestamps alone (strace is not installed)"
    assert said in capsys.readouterr().out
    assert said in found.read_text().replace("&#x27;", "'")


def test_trace_whose_strace_fails_halfway_goes_on_without(monkeypatch, capsys):
    monkeypatch.setattr(command, "refusal", lambda: None)
    monkeypatch.setattr(
        "headrace.trace.strace.command", lambda program, output: ["sh", "-c", "echo no >&2; exit 1"]
    )
    found = recorded(capsys, "epoll", "--delay", "1")
    assert found["strace"]["used"] is False
    assert found["strace"]["reason"] == "strace: the server ended with status 1: no"


def test_trace_of_a_service_that_ends_says_so(monkeypatch, capsys):
    monkeypatch.setenv(
        "PYTHONHASHSEED", "none"
    )  # refused by the interpreter before it runs anything
    assert command.main(["epoll", "--no-strace"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("headrace trace: the server ended with status 1: ")
    assert shown.err.count("\n") == 1


def wait_service(process):
    """Until the traced service answers."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for pid in process_tree(process.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"headrace.trace.service" in words and len(os.listdir(f"/proc/{pid}/fd")) > 6:
                return
        assert process.poll() is None, "it has ended"
    raise AssertionError(f"no service within {PATIENCE_S} s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_trace_that_is_interrupted_leaves_nothing(started, tmp_path, number):
    words = ["epoll", "--delay", "1000", "--svg", str(tmp_path / "request.svg")]
    with started(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        wait_service(process)
        tree = process_tree(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert os.listdir(tmp_path) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in tree)
