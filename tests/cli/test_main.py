"""The ``headrace`` command itself: help, version, and commands that do not exist."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

from headrace.__main__ import COMMANDS

HEADRACE = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "headrace")]
SHORT = ["--busy=1", "--idle=0", "--seconds=0.05", "--repeat=1"]


def test_version_is_the_installed_packages(headrace):
    assert headrace("--version").stdout == f"headrace {metadata.version('headrace')}\n"


def test_help_names_every_command(headrace):
    text = headrace("--help").stdout
    assert all(f"  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_a_help_of_its_own(headrace, command):
    outcome = headrace(command, "--help")
    assert outcome.returncode == 0
    assert f"headrace {command}" in outcome.stdout


@pytest.mark.parametrize("words", [[], ["bogus"], ["--bogus"], ["models", "bogus"]], ids=str)
def test_wrong_command_line_says_so_and_exits_2(headrace, words):
    outcome = headrace(*words)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert "usage: headrace" in outcome.stderr


def run_unread(words, buffered=True):
    """Run the command with a standard output that nobody reads any more."""
    variables = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [*HEADRACE, *words],
            stdout=writer, stderr=subprocess.PIPE, env=variables, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "words",
    [["--version"], ["models"], ["models", "--json"], ["compare", "--models=epoll", *SHORT]],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
def test_command_whose_output_nobody_reads_ends_in_silence_of_sigpipe(folder, words, buffered):
    ended = run_unread(words, buffered)
    assert ended.stderr == b""
    assert ended.returncode == -signal.SIGPIPE


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)], ids=str)
def test_help_that_nobody_reads_ends_in_silence_of_sigpipe(folder, command):
    ended = run_unread([*command, "--help"])
    assert ended.stderr == b""
    assert ended.returncode == -signal.SIGPIPE


def test_compare_has_written_its_report_when_nobody_reads_its_table(folder):
    ended = run_unread(["compare", "--models=epoll", *SHORT, "--json", "report.json"])
    assert ended.returncode == -signal.SIGPIPE
    assert json.loads((folder / "report.json").read_text())["rows"]


def test_command_interrupted_while_it_is_loaded_ends_in_silence_of_sigint(folder):
    program = (
        "import os, signal, headrace.__main__ as command\n"
        "command.import_module = lambda name: os.kill(os.getpid(), signal.SIGINT)\n"
        "command.main(['compare'])"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("words", [["models"], ["--version"], ["run", "-c", "pass"]], ids=str)
def test_command_without_a_standard_output_does_its_work(folder, words):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *HEADRACE, *words]
    ended = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("words", "who"),
    [
        (["--version"], "headrace"),
        (["models"], "headrace"),
        (["models", "--json"], "headrace"),
        (["compare", "--models=epoll", *SHORT], "headrace compare"),
        (["compare", "--models=epoll", "--json=-", *SHORT], "headrace compare"),
    ],
    ids=lambda part: " ".join(part[:3]) if isinstance(part, list) else "",
)
def test_command_whose_output_finds_no_room_says_so_in_one_line(folder, words, who, buffered):
    variables = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*HEADRACE, *words],
            stdout=full, stderr=subprocess.PIPE, env=variables, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert f"{who}: standard output: No space left on device\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("headrace") == who.count("headrace")


@pytest.mark.parametrize("missing", ["rich", "hdrh"])
def test_compare_without_the_lab_extra_says_what_to_install(headrace, folder, missing):
    (folder / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name={missing!r})")
    outcome = headrace("compare", PYTHONPATH=str(folder))
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert "pip install 'headrace[lab]'" in outcome.stderr
