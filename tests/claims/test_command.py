"""``headrace claims``: bad arguments are one line, and what was measured is always shown."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.claims import command
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import Finding
from headrace.claims.run import Result
from headrace.lab.usage import process_tree

COMMAND = [sys.executable, "-m", "headrace", "claims"]
FAST = ["epoll-mmap", "edge-once"]
PATIENCE_S = 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "kqueue"], "unknown claim 'kqueue'; headrace claims --list shows all\n"),
        (["--only", "epoll-mmap,kqueue"], "unknown claim 'kqueue'; headrace claims --list"),
        (["--only", "epol-mmap"], "'epol-mmap'; did you mean epoll-mmap"),
        (["--only", "mmap"], "'mmap'; did you mean epoll-mmap? headrace claims --list shows all"),
        (["--only", "Epoll-mmap-"], "did you mean epoll-mmap"),
        (["--only", ","], "--only: ',' names no claim; example: epoll-mmap"),
        (["--only"], "--only: expected at least one argument"),
        (["epoll-mmap"], "unrecognized arguments: epoll-mmap"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["--qui"], "unrecognized arguments: --qui"),
        (["--json", "/nowhere/at/all.json"], "no directory '/nowhere/at'"),
        (["--html", "/"], "'/' is a directory"),
        (["--json", "-", "--html", "-"], "only one of them fits standard output"),
        (["--json", "x", "--html", "./x"], "--json and --html are the same file: './x'"),
        (["--list", "--json", "x"], "--list measures nothing; it has no --json"),
        (["--list", "--quick"], "--list measures nothing; it has no --quick"),
    ],
)
def test_claims_names_a_bad_argument(words, said, capsys):
    assert command.main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("headrace claims: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_claims_lists_them_all(capsys):
    assert command.main(["--list"]) == 0
    shown = capsys.readouterr()
    for claim in CLAIMS.values():
        assert claim.name in shown.out
        assert claim.english in shown.out
    assert shown.err == ""


def test_claims_lists_only_those_that_are_named(capsys):
    assert command.main(["--list", "--only", *FAST]) == 0
    assert [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] == " "
    ] == FAST


def test_claims_writes_what_it_shows(tmp_path, capsys):
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "html")}
    words = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert command.main(["--quick", "--only", *FAST, *words]) == 0
    shown = capsys.readouterr()
    report = json.loads(files["json"].read_text())
    page = files["html"].read_text()
    assert [row["name"] for row in report["claims"]] == FAST
    for row in report["claims"]:
        assert f"  {row['name'].ljust(len(FAST[0]))}  {row['verdict']}" in shown.out
        assert row["sentence"] in shown.out  # chosen by name, and so in full
        assert row["sentence"] in page
    assert shown.err.splitlines() == [f"wrote {path}" for path in files.values()]


def test_claims_json_has_the_documented_fields(capsys):
    assert command.main(["--quick", "--only", "epoll-mmap", "--json", "-"]) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    documented = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    assert report["schema"] == 1
    for name in (*report, *report["claims"][0]):
        assert f"`{name}`" in documented
    assert "epoll-mmap" in shown.err  # the table


def at_descriptors(limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The command under a hard limit of open files."""
    return subprocess.run(
        ["prlimit", f"--nofile={limit}", *COMMAND, "--quick", *words],
        capture_output=True, text=True, timeout=PATIENCE_S * 2,
    )  # fmt: skip


@pytest.mark.parametrize("limit", [100, 340])
def test_claims_of_growth_are_not_decided_by_few_descriptors(tmp_path, limit):
    names = ["select-scans", "poll-scans", "epoll-flat", "epoll-registers-log"]
    files = [tmp_path / "result.json", tmp_path / "result.html"]
    done = at_descriptors(
        limit, "--only", *names, "edge-once", "--json", str(files[0]), "--html", str(files[1])
    )
    assert (done.returncode, done.stderr) == (0, "".join(f"wrote {path}\n" for path in files))
    rows = json.loads(files[0].read_text())["claims"]
    assert {row["name"]: row["verdict"] for row in rows} == {
        **dict.fromkeys(names, "not decidable here"), "edge-once": "holds",
    }  # fmt: skip


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_claims_with_a_figure_that_is_no_number_writes_all_the_others(
    monkeypatch, tmp_path, capsys, bad
):
    def one(claim, scale):
        return Result(claim, Finding("holds", "1", {"a": 1.5, "b": bad}), 0.1)

    monkeypatch.setattr("headrace.claims.run.run_claim", one)
    path = tmp_path / "result.json"
    assert command.main(["--quick", "--only", *FAST, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["claims"]
    assert [row["figures"] for row in rows] == [{"a": 1.5, "b": None}] * 2
    assert all(name in capsys.readouterr().out for name in FAST[:1])


def test_claims_shows_the_table_though_a_report_cannot_be_made(monkeypatch, tmp_path, capsys):
    def build_page(report):
        raise ValueError("math domain error")

    monkeypatch.setattr("headrace.claims.page.build_page", build_page)
    page, path = tmp_path / "result.html", tmp_path / "result.json"
    words = ["--only", *FAST, "--json", str(path), "--html", str(page)]
    assert command.main(["--quick", *words]) == 1
    shown = capsys.readouterr()
    assert all(name in shown.out for name in FAST)
    assert f"headrace claims: {page}: ValueError: math domain error\n" in shown.err
    assert len(json.loads(path.read_text())["claims"]) == 2


def test_claims_fails_where_no_experiment_worked(monkeypatch, capsys):
    unheard_of = replace(CLAIMS["epoll-mmap"], name="unheard-of")
    monkeypatch.setattr(command, "choose", lambda names: [unheard_of])
    assert command.main(["--quick"]) == 1
    assert "KeyError: 'unheard-of'" in capsys.readouterr().out


def test_claims_does_not_mind_an_unknown_model_in_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("HEADRACE_MODEL", "kqueue")
    assert command.main(["--quick", "--only", "queue-is-thread-safe"]) == 0
    assert "depends" in capsys.readouterr().out


def test_claims_does_not_import_from_the_working_directory(monkeypatch, tmp_path, capsys):
    (tmp_path / "socket.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert command.main(["--quick", "--only", "edge-once"]) == 0
    assert "holds" in capsys.readouterr().out


def wait_worker(process: subprocess.Popen, name: str) -> None:
    """Until the experiment of this name runs."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for pid in process_tree(process.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"headrace.claims.worker" in words and name.encode() in words:
                return
        assert process.poll() is None, "it has ended"
    raise AssertionError(f"{name} did not run within {PATIENCE_S} s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_claims_that_are_interrupted_show_what_was_measured(started, tmp_path, number):
    path = tmp_path / "result.json"
    words = ["--only", "blocking-both-phases", "nap-delays", "--json", str(path)]
    with started(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_worker(process, "nap-delays")
        tree = process_tree(process.pid)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    assert "blocking-both-phases" in out
    assert "interrupted; measured so far:" in err
    report = json.loads(path.read_text())
    assert report["interrupted"] is True
    assert [row["name"] for row in report["claims"]] == ["blocking-both-phases"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in tree)


def test_claims_that_are_interrupted_at_once_say_so(started):
    with started(
        [*COMMAND, "--only", "nap-delays"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_worker(process, "nap-delays")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err == "headrace claims: nothing was measured\n"


def test_every_claim_is_listed_in_the_documentation():
    documented = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    assert [name for name in CLAIMS if f"| `{name}` |" not in documented] == []
