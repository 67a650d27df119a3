"""What the integration tests share: the models, and servers started as their users start them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WAIT_S_MAX = 30.0


@pytest.fixture
def bench() -> Path:
    return REPOSITORY / "bench"


@pytest.fixture
def serve(model: str) -> Callable[..., contextlib.AbstractContextManager[int]]:
    """serve(argument, ...): `headrace run` of it with a port appended; the port it listens on."""

    @contextlib.contextmanager
    def started(*arguments: str) -> Iterator[int]:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        command = [sys.executable, "-W", "error", "-m", "headrace", "run", "--model", model]
        server = subprocess.Popen(
            [*command, *arguments, str(port)], stderr=subprocess.PIPE, text=True
        )
        try:
            wait_listening(server, port)
            yield port
            assert server.poll() is None
            server.send_signal(signal.SIGINT)
            assert server.communicate(timeout=WAIT_S_MAX)[1] == ""
        finally:
            server.kill()
            server.communicate()

    return started


def wait_listening(server: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + WAIT_S_MAX
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
    pytest.fail(f"no server: {server.communicate()[1] if server.poll() is not None else ''}")
