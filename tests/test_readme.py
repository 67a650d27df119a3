"""The README is executed: its server and client, and its commands.

Two kinds of marks stand above its code blocks, in comments that no reader sees:
``<!-- file: NAME -->`` saves the block as a file, and ``<!-- commands -->`` is a list of commands.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCK = re.compile(r"<!-- (?P<mark>[^>]+) -->\n```\w+\n(?P<text>.*?)```", re.S)
PORT = "8765"  # as it stands in the README
DEADLINE_S = 30


def blocks(mark: str) -> list[str]:
    return [found["text"] for found in BLOCK.finditer(README) if found["mark"] == mark]


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path, port: str) -> Path:
    """The README's files, with a port that is free in place of the README's."""
    for name in ("server.py", "client.py"):
        (text,) = blocks(f"file: {name}")
        assert text.count(PORT) == 1
        (tmp_path / name).write_text(text.replace(PORT, port))
    (tmp_path / "module.py").write_text(
        "from aiohttp import web\n"
        "async def hello(request): return web.Response(text='hello')\n"
        "def make_application(arguments):\n"
        "    application = web.Application()\n"
        "    application.router.add_get('/', hello)\n"
        "    return application\n"
    )
    (tmp_path / "application.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "async def hello(request): return PlainTextResponse('hello')\n"
        "app = Starlette(routes=[Route('/', hello)])\n"
    )
    return tmp_path


@contextmanager
def running(command: list[str], folder: Path, port: str, **variables: str) -> Iterator[None]:
    """The command as a subprocess, from when it listens on the port."""
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **variables})
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not listens(port):
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command} does not listen on {port}"
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()


def listens(port: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except ConnectionRefusedError:
        time.sleep(0.05)
        return False


def ask(folder: Path) -> str:
    return subprocess.check_output(
        [sys.executable, "client.py"], cwd=folder, text=True, timeout=DEADLINE_S
    )


def test_readme_server_answers_its_client(folder, port):
    with running([sys.executable, "server.py"], folder, port):
        assert ask(folder) == "WATER TO THE WHEEL\n\n"


def commands() -> list[str]:
    (text,) = blocks("commands")
    return [line.partition("#")[0].strip() for line in text.splitlines()]


def test_readme_commands_are_all_known_to_this_test():
    assert commands() == [
        "headrace models",
        "headrace run server.py",
        "headrace run --model poll server.py",
        "HEADRACE_MODEL=epoll headrace run -m aiohttp.web module:make_application",
        "uvicorn --loop headrace:new_event_loop application:app",
    ]


def words(index: int) -> tuple[list[str], dict[str, str]]:
    """A command of the README, with the installed script in place of its name."""
    rest = commands()[index].split()
    variables = dict([rest.pop(0).split("=")] if "=" in rest[0] else [])
    script = shutil.which(rest[0], path=sysconfig.get_path("scripts"))
    if script is None:
        pytest.skip(f"{rest[0]} is not installed")
    return [script, *rest[1:]], variables


def test_readme_command_lists_the_models():
    assert "io_uring" in subprocess.check_output(words(0)[0], text=True)


@pytest.mark.parametrize("index", [1, 2])
def test_readme_command_runs_the_server(folder, port, index):
    command, variables = words(index)
    with running(command, folder, port, **variables):
        assert ask(folder) == "WATER TO THE WHEEL\n\n"


@pytest.mark.parametrize(("index", "package"), [(3, "aiohttp"), (4, "starlette")])
def test_readme_command_runs_the_web_application(folder, port, index, package):
    pytest.importorskip(package)
    command, variables = words(index)
    option = "--port" if package == "starlette" else "-P"
    with running([*command, option, port], folder, port, **variables):
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=DEADLINE_S) as answer:
            assert answer.read() == b"hello"
