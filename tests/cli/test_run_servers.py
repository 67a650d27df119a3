"""Unmodified web applications under ``headrace run``, under load from wrk.

HEADRACE_REQUESTS=100000 asks each model for as many.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import headrace

AVAILABLE = [model.name for model in headrace.models() if model.available]
# Enough that every connection is used for a hundred requests and more.
REQUESTS = int(os.environ.get("HEADRACE_REQUESTS", "10000"))
ROUND_S = 2
CONNECTIONS = 64
DEADLINE_S = 30
LOOK_AGAIN_S = 0.05

AIOHTTP = """\
import asyncio, sys
from aiohttp import web

async def hello(request):
    return web.Response(text="Hello, mill!")

async def loop(request):
    loop = asyncio.get_running_loop()
    return web.json_response([type(loop).__module__, getattr(loop, "model", None)])

application = web.Application()
application.router.add_get("/", hello)
application.router.add_get("/loop", loop)
if __name__ == "__main__":
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None)
"""

STARLETTE = """\
import asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

async def hello(request):
    return PlainTextResponse("Hello, mill!")

async def loop(request):
    loop = asyncio.get_running_loop()
    return JSONResponse([type(loop).__module__, getattr(loop, "model", None)])

application = Starlette(routes=[Route("/", hello), Route("/loop", loop)])
"""
UVICORN = ["-m", "uvicorn", "application:application", "--log-level", "warning", "--port"]
COMMANDS = {"aiohttp": ["application.py"], "uvicorn": UVICORN}


@contextmanager
def serving(command, port) -> Iterator[subprocess.Popen]:
    """A server, from when it answers; it must end in silence when it is interrupted."""
    with subprocess.Popen(
        [*command, port], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + DEADLINE_S
            # uvicorn's workers listen after the last line that tells of them: asking shows it.
            while which_loop(port) is None:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, f"{command} does not answer"
                time.sleep(LOOK_AGAIN_S)
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                errors = process.communicate(timeout=DEADLINE_S)[1]
            finally:
                process.kill()
        assert "Traceback" not in errors.partition("KeyboardInterrupt")[0], errors
        assert "Error" not in errors, errors


def which_loop(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/loop", timeout=5) as answer:
            return json.loads(answer.read())
    except OSError:
        return None


def load(port) -> int:
    """Load the server with wrk; answer how many requests it served, none with an error."""
    said = subprocess.check_output(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{ROUND_S}s", f"http://127.0.0.1:{port}/"], text=True
    )
    assert "Socket errors" not in said, said
    assert "Non-2xx" not in said, said
    return int(re.search(r"(\d+) requests in", said)[1])


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture
def application(folder, request):
    """An application's file, by the name of its framework."""
    framework = request.param
    pytest.importorskip("aiohttp" if framework == "aiohttp" else "starlette")
    (folder / "application.py").write_text(AIOHTTP if framework == "aiohttp" else STARLETTE)
    return COMMANDS[framework]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("model", AVAILABLE)
@pytest.mark.parametrize("application", COMMANDS, indirect=True)
def test_run_serves_wrk_many_requests_without_an_error(application, port, model):
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed; ./test installs it")
    command = [sys.executable, "-m", "headrace", "run", "--model", model, *application]
    with serving(command, port):
        assert which_loop(port) == ["headrace.loop.event_loop", model]
        served = 0
        while served < REQUESTS:
            served += load(port)


@pytest.mark.parametrize("application", ["uvicorn"], indirect=True)
def test_run_reaches_uvicorns_worker_processes(application, port):
    command = [sys.executable, "-m", "headrace", "run", "--model", "poll", *application]
    with serving([*command[:-1], "--workers", "2", "--port"], port):
        assert which_loop(port) == ["headrace.loop.event_loop", "poll"]


@pytest.mark.parametrize("option", [[], ["--loop", "auto"], ["--loop", "asyncio"]], ids=str)
@pytest.mark.parametrize("application", ["uvicorn"], indirect=True)
def test_run_is_the_loop_of_uvicorns_option(application, port, option):
    command = [sys.executable, "-m", "headrace", "run", *application[:-1], *option, "--port"]
    with serving(command, port):
        assert which_loop(port)[0] == "headrace.loop.event_loop"


@pytest.mark.parametrize("application", ["uvicorn"], indirect=True)
def test_run_leaves_uvicorn_the_uvloop_that_is_asked_for(application, port):
    pytest.importorskip("uvloop")
    command = [sys.executable, "-m", "headrace", "run", *application[:-1]]
    with serving([*command, "--loop", "uvloop", "--port"], port):
        assert which_loop(port)[0] == "uvloop"


@pytest.mark.parametrize("application", ["uvicorn"], indirect=True)
def test_uvicorn_takes_headrace_by_its_loop_option_without_run(application, port):
    command = [sys.executable, *application[:-1], "--loop", "headrace:new_event_loop", "--port"]
    with serving(command, port):
        assert which_loop(port)[0] == "headrace.loop.event_loop"
