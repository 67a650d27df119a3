"""What the log says of HTTP: transfers, refused requests, logins."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.serve.passwords import Cost, hash_password


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """alice, whose home is /docs, and bob; the password is "secret"."""
    word = hash_password("secret", Cost(n=2**14, r=8, p=1))
    file = tmp_path / "users"
    file.write_text(f"alice:{word}:/docs:rw\nbob:{word}:/:ro\n")
    return file


def basic(user: str, password: str = "secret") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_paths_are_those_below_the_served_folder(
    serve: Callable[..., Any], users: Path, tmp_path: Path
) -> None:
    with serve(users=str(users), xferlog=str(tmp_path / "xferlog")) as server:
        alice = basic("alice")
        assert server.ask("GET", "/note.txt", Authorization=alice).status == 200
        assert server.ask("PUT", "/up.txt", b"data", Authorization=alice).status == 201
    log = (tmp_path / "log").read_text()
    assert "direction=out path=/docs/note.txt bytes=7" in log
    assert "direction=in path=/docs/up.txt bytes=4" in log
    assert " /docs/up.txt b _ i r alice http " in (tmp_path / "xferlog").read_text()
