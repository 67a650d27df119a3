"""`headrace serve`, its command line: what it hands to the master, and how it says no."""

from __future__ import annotations

import os
import sys
import types

import pytest

from headrace.commands import serve
from headrace.serve.limits import limit_names
from headrace.serve.settings import OPTIONS, Address, Settings


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that the master got; it answers 7."""
    got: list[Settings] = []
    master = types.ModuleType("headrace.serve.master")
    master.serve = lambda settings: got.append(settings) or 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "headrace.serve.master", master)
    monkeypatch.setattr("headrace.serve.master", master, raising=False)
    return got


def test_serve_hands_the_settings_over_and_answers_the_masters_code(handed, folder):
    (folder / "serve.toml").write_text('http = "off"\nworkers = 3\n[limits]\nfields_max = 12\n')
    words = ["--config", "serve.toml", "--ftp", "0.0.0.0:21", "--tls-cert", "c", "--tls-required"]
    assert serve.main([".", *words, "--limit", "fields_max=14", "--limit=clients-max=9"]) == 7
    (settings,) = handed
    assert settings.directory == "."
    assert settings.ftp == Address("0.0.0.0", 21)
    assert settings.http is None
    assert (settings.workers, settings.tls_required) == (3, True)
    assert (settings.limits.fields_max, settings.limits.clients_max) == (14, 9)


def test_serve_turns_off_what_the_file_turns_on(handed, folder):
    (folder / "serve.toml").write_text('metrics = "127.0.0.1:9000"\n')
    assert serve.main([".", "--config", "serve.toml", "--metrics", "off"]) == 7
    assert handed[0].metrics is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "which folder"),
        (["."] * 2, "unrecognized arguments: ."),
        (["/nowhere"], "'/nowhere' is not a folder"),
        ([".", "--qqqqqq"], "unrecognized arguments: --qqqqqq; see headrace serve --help"),
        ([".", "--ssl-cert", "x"], "unrecognized arguments: --ssl-cert x; like it: --tls-cert"),
        ([".", "--work", "2"], "unrecognized arguments"),
        ([".", "--ftp"], "argument --ftp: expected one argument"),
        ([".", "--ftp", "x"], "argument --ftp: 'x' is not HOST:PORT"),
        ([".", "--model", "kqueue"], "'kqueue' is not one of blocking"),
        ([".", "--limit", "clients=1"], "--limit clients: no such limit"),
        ([".", "--config", "nothing.toml"], "nothing.toml: No such file"),
        ([".", "--users", "nobody", "--ftp", "off", "--http", "off"], "nothing to serve"),
    ],
    ids=str,
)
def test_wrong_command_line_is_one_line_and_exit_code_2(headrace, words, why):
    outcome = headrace("serve", *words)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("headrace serve: ")
    assert why in outcome.stderr


def test_missing_extra_is_one_line_that_says_what_to_install(headrace, folder):
    (folder / "httptools.py").write_text("raise ModuleNotFoundError(name='httptools')")
    outcome = headrace("serve", ".", PYTHONPATH=path_with(folder))
    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1
    assert "pip install 'headrace[serve]'" in outcome.stderr


def path_with(folder) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def test_ftp_alone_needs_no_extra(handed, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert serve.main([".", "--http", "off"]) == 7
    assert serve.main(["."]) == 2


def test_help_explains_each_option_and_names_each_limit(headrace):
    text = headrace("serve", "--help").stdout
    for option in OPTIONS:
        assert f"--{option.name}" in text
    for name in limit_names():
        assert f" {name}=" in text
    assert max(map(len, text.splitlines())) <= 100
