"""Models of other packages, through the entry-point group ``headrace.models``."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import headrace

SOURCE = Path(headrace.__file__).parents[1]

MODEL = '''
import select

from headrace.models.reactor import (
    REPORTS_HANGUP, REPORTS_READABLE, REPORTS_WRITABLE, Readiness,
)


class PlainPoll(Readiness):
    """poll(2) from Python's standard library."""

    name = "plain-poll"
    waits = "select.poll()"
    system_calls = ("poll",)
    capabilities = {**Readiness.capabilities, "regular_files": True}

    def open(self):
        self.poll = select.poll()

    def add(self, fd, events):
        self.poll.register(fd, self.mask(events))

    def modify(self, fd, events):
        self.poll.modify(fd, self.mask(events))

    def remove(self, fd):
        self.poll.unregister(fd)

    def wait(self, timeout_s):
        for fd, mask in self.poll.poll(None if timeout_s < 0 else timeout_s * 1000):
            events = REPORTS_READABLE if mask & select.POLLIN else 0
            events |= REPORTS_WRITABLE if mask & select.POLLOUT else 0
            if mask & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                events |= REPORTS_HANGUP
            self.report_ready(fd, events)

    def mask(self, events):
        return (select.POLLIN if events & REPORTS_READABLE else 0) | (
            select.POLLOUT if events & REPORTS_WRITABLE else 0
        )

    def close(self):
        self.poll = None


class NoModel:
    pass


class Incomplete(Readiness):
    capabilities = {}


class Raiser(PlainPoll):
    @classmethod
    def available(cls):
        raise OSError("no hardware")


class Absent(PlainPoll):
    @classmethod
    def available(cls):
        return "needs a kernel of next year"
'''

PROGRAM = """
import asyncio, headrace

async def main():
    served = asyncio.get_running_loop().create_future()

    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        served.set_result(None)

    loop = asyncio.get_running_loop()
    assert loop.model == "plain-poll", loop
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    data = bytes(range(256)) * 4000
    reading = asyncio.ensure_future(reader.readexactly(len(data)))
    writer.write(data)
    await writer.drain()
    assert await reading == data
    writer.close()
    await writer.wait_closed()
    await served
    server.close()
    await server.wait_closed()
    await loop.run_in_executor(None, print, "from a thread")
    try:
        await asyncio.wait_for(loop.create_future(), 0.01)
    except TimeoutError:
        print("timed out")

headrace.run(main(), model="plain-poll", debug=True)
"""


@pytest.fixture
def distribution(tmp_path):
    """A distribution with models, as pip would have installed it."""
    (tmp_path / "plain_models.py").write_text(MODEL)
    metadata = tmp_path / "plain_models-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-models\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        textwrap.dedent(
            """\
            [headrace.models]
            plain-poll = plain_models:PlainPoll
            bad-type = plain_models:NoModel
            bad-import = not_there:Model
            bad-capabilities = plain_models:Incomplete
            bad-available = plain_models:Raiser
            absent = plain_models:Absent
            """
        )
    )
    return tmp_path


def run(distribution, program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}:{distribution}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_model_in_plain_python_runs_an_asyncio_program(distribution):
    answer = run(distribution, PROGRAM)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "from a thread\ntimed out\n"


def test_model_of_another_package_is_listed(distribution):
    program = """
import headrace
found = {info.name: info for info in headrace.models()}
info = found["plain-poll"]
assert info.available and info.reason is None and info.waits == "select.poll()", info
assert not found["absent"].available
assert found["absent"].reason == "needs a kernel of next year"
assert found["epoll"].available
assert list(found)[:6] == ["nonblocking", "select", "poll", "epoll", "epoll-edge", "uring"]
"""
    answer = run(distribution, program)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad-type", "must be a subclass of Model or Readiness"),
        ("bad-import", "cannot be loaded: ModuleNotFoundError"),
        ("bad-capabilities", "must declare the capabilities batches, cancels_at_once"),
        ("bad-available", "available() failed: OSError('no hardware')"),
        ("absent", "needs a kernel of next year"),
    ],
)
def test_bad_model_of_another_package_gives_one_clear_error(distribution, name, reason):
    program = f"""
import headrace
info = next(info for info in headrace.models() if info.name == {name!r})
assert not info.available
print(info.reason)
try:
    headrace.new_event_loop({name!r})
except headrace.ModelUnavailableError as error:
    assert str(error) == info.reason, error
else:
    raise AssertionError("a loop was made")
"""
    answer = run(distribution, program)
    assert answer.returncode == 0, answer.stderr
    assert reason in answer.stdout
    assert answer.stdout.count("\n") == 1
