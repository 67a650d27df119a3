"""``headrace models``: the table and its JSON."""

import dataclasses
import json

import pytest

import headrace as package
from headrace.commands import models

WIDTH_COLUMNS = 100


def test_models_lists_every_model_with_its_columns(headrace):
    text = headrace("models").stdout
    for heading in ("model", "Stevens' class", "waits", "copies", "available", "system calls"):
        assert heading in text
    for model in package.models():
        assert f" {model.name} " in text
        assert all(call in text for call in model.system_calls)


@pytest.mark.parametrize("columns", [60, 80, 100, 500])
def test_models_fits_a_terminal(headrace, columns):
    text = headrace("models", COLUMNS=str(columns)).stdout
    assert max(map(len, text.splitlines())) <= min(columns, WIDTH_COLUMNS)
    for model in package.models():
        assert f" {model.name} " in text


def test_models_survives_a_terminal_of_one_column(headrace):
    outcome = headrace("models", COLUMNS="1")
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_models_marks_the_default(headrace):
    (marked,) = {
        line.split()[1]
        for line in headrace("models", HEADRACE_MODEL="poll").stdout.splitlines()
        if line.startswith("* ") and "no model is named" not in line
    }
    assert marked == "poll"


def test_models_json_has_the_documented_fields(headrace):
    outcome = headrace("models", "--json")
    assert outcome.stderr == ""
    described = json.loads(outcome.stdout)
    assert [model["name"] for model in described] == [model.name for model in package.models()]
    assert [model["default"] for model in described].count(True) == 1
    for model in described:
        assert set(model) == {
            "name",
            "stevens",
            "waits",
            "copies",
            "available",
            "reason",
            "default",
            "default_error",
            "capabilities",
            "system_calls",
        }
        assert (model["reason"] is None) == model["available"]
        assert model["default_error"] is None


def test_models_says_why_a_model_is_not_available(monkeypatch, capsys):
    reason = "io_uring: io_uring_setup: Operation not permitted (blocked by seccomp?)"
    broken = [
        dataclasses.replace(model, available=False, reason=reason) for model in package.models()
    ]
    monkeypatch.setattr(package, "models", lambda: tuple(broken))
    assert models.main([]) == 0
    text = capsys.readouterr().out
    assert "no: io_uring" in text
    assert "seccomp?)" in text
    assert max(map(len, text.splitlines())) <= WIDTH_COLUMNS


def test_models_lists_them_all_when_the_environment_names_none_of_them(headrace):
    outcome = headrace("models", HEADRACE_MODEL="kqueue")
    assert outcome.returncode == 0
    assert outcome.stderr.count("\n") == 1
    assert "$HEADRACE_MODEL: unknown model 'kqueue': known are blocking," in outcome.stderr
    lines = outcome.stdout.splitlines()
    for model in package.models():
        assert any(line.startswith(f"  {model.name} ") for line in lines), model.name
    assert "*" not in outcome.stdout


def test_models_json_says_that_the_environment_names_no_model(headrace):
    outcome = headrace("models", "--json", HEADRACE_MODEL="kqueue")
    assert outcome.returncode == 0
    described = json.loads(outcome.stdout)
    assert [model["name"] for model in described] == [model.name for model in package.models()]
    for model in described:
        assert not model["default"]
        assert "$HEADRACE_MODEL: unknown model 'kqueue'" in model["default_error"]


def test_compare_does_not_mind_an_unknown_model_in_the_environment(headrace):
    load = ["--busy", "1", "--idle", "0", "--seconds", "0.05", "--repeat", "1"]
    outcome = headrace("compare", *load, "--models", "epoll", HEADRACE_MODEL="kqueue")
    # 1: on a busy machine so short a measurement may have no good round.
    assert outcome.returncode in (0, 1), outcome.stderr
    assert "kqueue" not in outcome.stderr + outcome.stdout
    assert "epoll" in outcome.stdout
