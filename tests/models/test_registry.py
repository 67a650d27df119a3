"""Models of other packages, through the entry-point group ``headrace.models``."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from headrace.core.operation import PollOperation
from headrace.models import registry

SOURCE = Path(headrace.__file__).parents[1]

MODEL = '''
import select

from headrace.models.reactor import (
    REPORTS_HANGUP, REPORTS_READABLE, REPORTS_WRITABLE, Readiness,
)
from headrace.models.contract import Model


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


class Incomplete(PlainPoll):
    capabilities = {}


class Waitless(Readiness):
    name = "bad-readiness"
    add = modify = remove = PlainPoll.add


class Verbless(Model):
    name = "bad-model"


class Raiser(PlainPoll):
    name = "bad-available"

    @classmethod
    def available(cls):
        raise OSError("no hardware")


class Truthful(PlainPoll):
    name = "bad-answer"

    @classmethod
    def available(cls):
        return True


class Absent(PlainPoll):
    name = "absent"

    @classmethod
    def available(cls):
        return "needs a kernel of next year"


class Refused(PlainPoll):
    name = "refused"

    def open(self):
        raise OSError("no device today")
'''

ENTRY_POINTS = """\
[headrace.models]
plain-poll = plain_models:PlainPoll
bad-type = plain_models:NoModel
bad-import = not_there:Model
bad-capabilities = plain_models:Incomplete
bad-readiness = plain_models:Waitless
bad-model = plain_models:Verbless
bad-available = plain_models:Raiser
bad-answer = plain_models:Truthful
bad-name = plain_models:PlainPoll
absent = plain_models:Absent
refused = plain_models:Refused
poll = plain_models:PlainPoll
"""

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
    install(tmp_path, "plain_models", ENTRY_POINTS)
    return tmp_path


def install(folder, name, entry_points):
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def run(distribution, program, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
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
assert found["epoll"].available
assert list(found)[:9] == [
    "blocking", "nonblocking", "select", "poll", "epoll", "epoll-edge", "signal", "aio", "uring",
]
"""
    answer = run(distribution, program)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad-type", "must be a subclass of Model or Readiness"),
        ("bad-import", "cannot be loaded: ModuleNotFoundError"),
        ("bad-capabilities", "must declare the capabilities batches, cancels_at_once"),
        ("bad-readiness", "lacks wait()"),
        ("bad-model", "lacks open(), submit(), cancel(), wait(), close()"),
        ("bad-available", "available() failed: OSError('no hardware')"),
        ("bad-answer", "available() must answer None or a reason, not True"),
        (
            "bad-name",
            "is called 'plain-poll' by its class: its entry point must be called the same",
        ),
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
    assert answer.stdout.startswith(f"model {name!r} (")
    assert reason in answer.stdout
    assert answer.stdout.count("\n") == 1


@pytest.mark.parametrize("how", ["argument", "variable", "program"])
def test_model_of_another_package_that_cannot_be_opened_is_one_line(distribution, how):
    """Of the command line with status 2; of a program the error that says the same."""
    program = """
import os, runpy, sys
how = sys.argv[1]
if how == "variable":
    os.environ["HEADRACE_MODEL"] = "refused"
if how == "program":
    import headrace
    try:
        headrace.new_event_loop("refused")
    except headrace.ModelUnavailableError as error:
        sys.exit(f"headrace: {error}")
chosen = ["--model", "refused"] if how == "argument" else []
sys.argv = ["headrace", "run", *chosen, "-c", "print('it ran')"]
runpy.run_module("headrace", run_name="__main__")
"""
    answer = run(distribution, program, how)
    assert answer.returncode == (1 if how == "program" else 2)
    line = "headrace: model 'refused' (plain_models:Refused): no device today\n"
    assert (answer.stdout, answer.stderr) == ("", line)


def names_and_reasons(distribution, *chosen):
    """What headrace.models() says of those models, by a process that sees *distribution*."""
    program = (
        "import headrace, json; print(json.dumps({i.name: i.reason for i in headrace.models()}))"
    )
    answer = run(distribution, program)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    return [found.get(name, "not listed") for name in chosen]


def test_entry_point_named_as_a_model_of_headraces_own_is_listed_as_unused(distribution):
    reasons = names_and_reasons(distribution, "poll", "poll (plain_models:PlainPoll)")
    assert reasons == [None, "'poll' is a model of headrace's own; rename this one"]


def test_second_entry_point_of_a_name_is_listed_as_unused(distribution):
    other = distribution / "other"
    install(other, "other_models", "[headrace.models]\nplain-poll = other_models:Mine\n")
    reasons = names_and_reasons(
        f"{distribution}:{other}", "plain-poll", "plain-poll (other_models:Mine)"
    )
    assert reasons == [None, "'plain-poll' is plain_models:PlainPoll here; rename this one"]


def test_clash_is_not_among_the_models_that_can_be_chosen(distribution):
    answer = run(distribution, "import headrace; headrace.new_event_loop('plain')")
    known = answer.stderr.partition("known are ")[2]
    assert "plain-poll" in known
    assert "PlainPoll" not in known


@pytest.mark.parametrize("base", registry.REQUIRED_VERBS, ids=lambda base: base.__name__)
def test_required_verbs_are_those_that_the_base_does_not_implement(base):
    verbs = {
        "open": (), "close": (), "wait": (0.0,), "bind": (), "flush": (), "forget": (3,),
        "submit": (PollOperation(0, 1),), "cancel": (PollOperation(0, 1),),
        "add": (0, 1), "modify": (0, 1), "remove": (0,),
    }  # fmt: skip
    missing = set()
    for verb, arguments in verbs.items():
        if hasattr(base, verb):
            try:
                getattr(base(), verb)(*arguments)
            except NotImplementedError:
                missing.add(verb)
    assert missing == set(registry.REQUIRED_VERBS[base])


def opening_fails_on(name, number):
    """What to open a model with; the names of those that it was given are in `tried`."""
    tried = []

    def open_on(model):
        tried.append(model.name)
        if model.name == name:
            raise OSError(number, os.strerror(number))

    return open_on, tried


@pytest.fixture
def uring_first(monkeypatch):
    """All candidates are offered, whatever this kernel says."""
    monkeypatch.delenv("HEADRACE_MODEL", raising=False)
    monkeypatch.setattr(registry, "unavailable_reason", lambda name: None)


@pytest.mark.usefixtures("uring_first")
@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EPERM])
def test_default_model_that_is_refused_makes_way_for_the_next(number):
    open_on, tried = opening_fails_on("uring", number)
    assert registry.open_model(None, open_on).name == "epoll"
    assert tried == ["uring", "epoll"]


@pytest.mark.usefixtures("uring_first")
@pytest.mark.parametrize("variable", [None, "uring"], ids=["argument", "variable"])
def test_named_model_that_is_refused_is_unavailable(monkeypatch, variable):
    open_on, tried = opening_fails_on("uring", errno.ENOMEM)
    if variable:
        monkeypatch.setenv("HEADRACE_MODEL", variable)
    with pytest.raises(headrace.ModelUnavailableError, match=r"^Cannot allocate memory$"):
        registry.open_model(None if variable else "uring", open_on)
    assert tried == ["uring"]


@pytest.mark.usefixtures("uring_first")
@pytest.mark.parametrize("name", [None, "uring"])
def test_no_descriptor_left_is_no_fault_of_the_model(name):
    open_on, tried = opening_fails_on("uring", errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        registry.open_model(name, open_on)
    assert tried == ["uring"]
