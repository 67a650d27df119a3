"""A model that keeps stamps behaves as the model that it is made of."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from headrace.models.registry import make_model
from headrace.trace.stamping import Stamps, stamped

HERE = Path(__file__).parent
CONFORMANCE = HERE.parent / "conformance"
PROGRAMS = ["test_contract_receive.py", "test_contract_send.py", "test_program_streams.py"]


async def echo_once(size):
    async def echo(reader, writer):
        writer.write(await reader.readexactly(size))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x" * size)
    answer = await reader.readexactly(size)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return answer


def pytest_on_stamped_models(*words):
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    plain = ("-q", "-p", "no:cacheprovider", "-p", "stamped_subjects")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *words],
        env={**os.environ, "PYTHONPATH": path, "HEADRACE_SEEDS": "0"},
        cwd=HERE.parents[1], capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_stamped_models_pass_the_conformance_suite():
    """The suite itself looks for what is left behind."""
    ended = pytest_on_stamped_models(*(str(CONFORMANCE / name) for name in PROGRAMS))
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]


def test_conformance_suite_takes_every_stamped_model():
    listed = pytest_on_stamped_models("--collect-only", str(CONFORMANCE / PROGRAMS[-1])).stdout
    for info in headrace.models():
        assert info.available == (f"stamped-{info.name}]" in listed)


def test_stamped_model_is_of_the_models_own_class(model):
    made = stamped(make_model(model), Stamps())
    assert isinstance(made, type(make_model(model)))
    assert made.name == model


def test_stamped_model_notes_what_it_is_asked_and_that_it_waits(model):
    stamps = Stamps()
    made = stamped(make_model(model), stamps)
    with asyncio.Runner(loop_factory=lambda: headrace.EventLoop(made)) as runner:
        assert runner.run(echo_once(1000)) == b"x" * 1000
    assert {"accept", "receive", "send"} <= {kind for _, kind, _ in stamps.asked}
    times = [time for start, end, _ in stamps.waited for time in (start, end)]
    assert times == sorted(times)
    assert len(times) >= 2


def test_stamps_of_rounds_without_anything_between_are_one():
    stamps = Stamps()
    for start in (1, 2, 3):
        stamps.wait(start)
    stamps.tell(5, 10)
    stamps.wait(6)
    assert [(start, rounds) for start, _, rounds in stamps.waited] == [(1, 3), (6, 1)]


def test_stamping_leaves_the_models_class_as_it_was(model):
    plain = type(make_model(model))
    before = plain.wait
    stamped(make_model(model), Stamps())
    assert plain.wait is before


@pytest.mark.parametrize("kind", ["asked", "waited", "told"])
def test_stamps_have_a_limit(kind, monkeypatch):
    monkeypatch.setattr("headrace.trace.stamping.ENTRIES_MAX", 2)
    stamps = Stamps()
    operation = type("Some", (), {"kind_name": "send", "fd": 1})()
    for _ in range(5):
        stamps.ask(operation)
        stamps.wait(1)
        stamps.tell(1, 1)
    assert len(getattr(stamps, kind)) == 2
