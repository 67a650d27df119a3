"""The floor in C is the same service: right, byte for byte, also when replies pile up."""

import contextlib
import json
import os
import subprocess

import pytest

from headrace.lab import floor
from headrace.lab.load import Load


@contextlib.contextmanager
def serving(program, *arguments):
    """The port on which the program listens; it must not end by itself."""
    if program.reason is not None:
        pytest.skip(program.reason)
    with subprocess.Popen([program.path, *arguments], stdout=subprocess.PIPE) as process:
        yield json.loads(process.stdout.readline())["port"]
        still_runs = process.poll() is None
        process.kill()
    assert still_runs


@pytest.fixture(params=sorted(floor.PROGRAMS))
def program(request):
    return next(one for one in floor.programs() if one.name == request.param)


@pytest.fixture
def address(program):
    with serving(program) as port:
        yield "127.0.0.1", port


@pytest.mark.parametrize("size", [1, 1024, 5000, 2_000_000])
def test_floor_answers_upper_case(address, size):
    load = Load(address, busy=8, idle=50, size=size)
    load.connect()
    window = load.run(0.1)
    load.close()
    assert window.errors == {}
    assert window.requests >= 8


@pytest.mark.parametrize("size", [1, 5000])
def test_floor_answers_the_same_bytes_when_told_to(program, size):
    with serving(program, "echo") as port:
        load = Load(("127.0.0.1", port), busy=8, size=size, echo=True)
        load.connect()
        window = load.run(0.1)
        load.close()
    assert window.errors == {}
    assert window.requests >= 8


def test_floor_listens_on_a_path(program, tmp_path):
    path = str(tmp_path / "socket")
    with serving(program, "echo", path) as port:
        load = Load(path, busy=8, idle=20, size=5000, echo=True)
        load.connect()
        window = load.run(0.1)
        load.close()
    assert port == 0
    assert window.errors == {}
    assert window.requests >= 8


def test_floor_survives_clients_that_vanish(address):
    for _ in range(3):
        load = Load(address, busy=20, size=100_000, reply_timeout_s=0.001)
        load.connect()
        load.run(0.001)
        load.close()
    load = Load(address, busy=8)
    load.connect()
    assert load.run(0.05).errors == {}
    load.close()


def test_floor_says_why_it_cannot_be_built(monkeypatch, tmp_path):
    monkeypatch.setattr(floor, "BINARIES", tmp_path / "none")
    monkeypatch.setattr(floor, "SOURCES", tmp_path / "nowhere")
    (reason,) = {one.reason for one in floor.programs()}
    assert "installed copy" in reason
    assert "./try" in reason
    assert "pip install --editable" in reason
    monkeypatch.undo()
    monkeypatch.setattr(floor, "BINARIES", tmp_path / "none")
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    assert all("no C compiler" in one.reason for one in floor.programs())
