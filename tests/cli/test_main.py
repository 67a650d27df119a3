"""The ``headrace`` command itself: help, version, and commands that do not exist."""

from importlib import metadata

import pytest

from headrace.__main__ import COMMANDS


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


@pytest.mark.parametrize("missing", ["rich", "hdrh"])
def test_compare_without_the_lab_extra_says_what_to_install(headrace, folder, missing):
    (folder / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name={missing!r})")
    outcome = headrace("compare", PYTHONPATH=str(folder))
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert "pip install 'headrace[lab]'" in outcome.stderr
