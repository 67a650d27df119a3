"""Which model a loop runs on, and what is said when it cannot."""

from __future__ import annotations

import json

import pytest

import headrace


def test_new_event_loop_runs_on_the_model_asked_for(model):
    loop = headrace.new_event_loop(model)
    assert loop.model == model
    loop.close()


def test_new_event_loop_takes_the_model_from_the_environment(model, monkeypatch):
    monkeypatch.setenv("HEADRACE_MODEL", model)
    loop = headrace.new_event_loop()
    assert loop.model == model
    loop.close()


def test_new_event_loop_prefers_its_argument_to_the_environment(model, monkeypatch):
    monkeypatch.setenv("HEADRACE_MODEL", "nonsense")
    loop = headrace.new_event_loop(model)
    assert loop.model == model
    loop.close()


@pytest.mark.parametrize("name", ["nonsense", "URING", "epoll ", "blocking;"])
def test_unknown_model_is_named_with_the_known_ones(name, monkeypatch):
    known = "nonblocking, select, poll, epoll, epoll-edge, uring"
    expected = f"unknown model {name!r}: known are {known}"
    with pytest.raises(headrace.UnknownModelError) as raised:
        headrace.new_event_loop(name)
    assert str(raised.value) == expected
    monkeypatch.setenv("HEADRACE_MODEL", name)
    with pytest.raises(headrace.UnknownModelError) as raised:
        headrace.new_event_loop()
    assert expected in str(raised.value)


def test_empty_environment_variable_means_the_default(monkeypatch):
    monkeypatch.setenv("HEADRACE_MODEL", "")
    loop = headrace.new_event_loop()
    monkeypatch.delenv("HEADRACE_MODEL")
    expected = headrace.new_event_loop()
    assert loop.model == expected.model
    loop.close()
    expected.close()


def test_denied_io_uring_falls_back_silently_and_says_why_when_asked(run_program):
    ended = run_program("without_io_uring.py", without_io_uring=True, HEADRACE_MODEL="")
    if "no seccomp filter can be installed here" in ended.stderr:
        pytest.skip("no seccomp filter can be installed here")
    assert ended.stderr == ""
    answer = json.loads(ended.stdout)
    assert answer["model"] == "epoll"
    assert answer["ran"] == "ran"
    assert not answer["available"]
    expected = "io_uring: io_uring_setup: Operation not permitted (blocked by seccomp?)"
    assert answer["reason"] == expected
    assert answer["error"] == expected
