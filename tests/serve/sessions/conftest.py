"""What the tests of whole FTP sessions share: a served folder, servers, a certificate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ftp_server import Client, Server, make_settings, serving

from headrace.serve.passwords import Cost, hash_password
from headrace.serve.users import parse_line


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The served folder."""
    folder = tmp_path / "served"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_bytes(bytes(range(256)) * 400)
    (folder / "lines").write_bytes(b"one\ntwo\r\nthree\n")
    (folder / "folder" / "inner").write_bytes(b"inside")
    return folder


@pytest.fixture
def start(served: Path) -> Iterator[Callable[..., Server]]:
    """Start a server with these settings and limits; it ends with the test."""
    with ExitStack() as stack:

        def started(*, model: str | None = None, host: str = "127.0.0.1", **changes: Any) -> Server:
            settings = make_settings(served, **changes)
            return stack.enter_context(serving(settings, model, host=host))

        yield started


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """Everybody may read and write."""
    return start(anonymous="rw")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Logged in, TYPE I."""
    with Client(server.port) as made:
        yield made.log_in()


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """One who may do everything in /folder, one with a rate, one with a quota; password: secret."""
    word = hash_password("secret", Cost(n=2**14, r=8, p=1))
    lines = [
        f"alice:{word}:/folder:rw",
        f"slow:{word}:/:rw:65536",
        f"small:{word}:/folder:rw::100",
        f"reader:{word}:/:ro",
        f"lost:{word}:/nowhere:rw",
    ]
    for line in lines:
        parse_line(line)
    path = tmp_path / "users"
    path.write_text("\n".join(lines) + "\n")
    return path
