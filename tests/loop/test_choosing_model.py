"""Which model a loop runs on, and what is said when it cannot."""

from __future__ import annotations

import asyncio
import functools
import inspect
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
    known = "blocking, nonblocking, select, poll, epoll, epoll-edge, signal, aio, uring"
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


@pytest.mark.parametrize("environment", [None, "nonsense"], ids=["argument", "variable"])
def test_run_on_an_unknown_model_leaves_no_coroutine_that_was_never_awaited(
    monkeypatch, environment
):
    async def main():
        pass

    if environment is not None:
        monkeypatch.setenv("HEADRACE_MODEL", environment)
    coroutine = main()
    with pytest.raises(headrace.UnknownModelError):
        headrace.run(coroutine, model=None if environment else "nonsense")
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_run_on_an_unavailable_model_leaves_no_coroutine_that_was_never_awaited(monkeypatch):
    async def main():
        pass

    def unavailable(model=None, *, spin_us=None):
        raise headrace.ModelUnavailableError("not here")

    monkeypatch.setattr(headrace, "new_event_loop", unavailable)
    coroutine = main()
    with pytest.raises(headrace.ModelUnavailableError):
        headrace.run(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("model", [None, "epoll", "nonsense"])
def test_run_in_a_running_loop_is_refused_as_by_asyncio_and_leaves_main_alone(model):
    async def never_run():
        pass

    async def refused(run, name):
        coroutine = never_run()
        with pytest.raises(RuntimeError) as caught:
            run(coroutine)
        state = inspect.getcoroutinestate(coroutine)
        coroutine.close()
        return str(caught.value).removeprefix(name), caught.value.__context__, state

    expected = asyncio.run(refused(asyncio.run, "asyncio"))
    ours = functools.partial(headrace.run, model=model)
    assert asyncio.run(refused(ours, "headrace")) == expected
    assert expected[2] == inspect.CORO_CREATED


def test_package_shows_what_is_public_and_nothing_else():
    shown = set(dir(headrace))
    assert shown == {*headrace.__all__, "__version__"}
    assert all(hasattr(headrace, name) for name in shown)
