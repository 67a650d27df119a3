"""What the log says of HTTP: transfers, refused requests, logins."""

from __future__ import annotations

import base64
import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.serve.http.session import REFUSALS_AT_ONCE
from headrace.serve.http.uploads import Uploading
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


def test_a_failed_transfer_has_its_reason(
    serve: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = b"PUT /up HTTP/1.1\r\nHost: h\r\n"
    chunked = put + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

    def failed() -> list[str]:
        return re.findall(r" complete=false reason=(\S+) ", (tmp_path / "log").read_text())

    with (folder / "huge").open("wb") as file:
        file.truncate(64 * 2**20)
    with serve(anonymous="rw", limit=["upload_bytes_max=8"]) as server:
        server.raw(chunked + b"5\r\nhello\r\n")
        assert failed() == ["too_large"]
        with server.connect() as sock:
            sock.sendall(chunked)
            server.wait(lambda: any(each._uploading for each in server.sessions))
        server.wait(lambda: len(failed()) == 2)
        with server.connect() as sock:
            sock.sendall(chunked)
            server.wait(lambda: any(each._uploading for each in server.sessions))
            server.check_later(10_000.0)
            server.wait(lambda: len(failed()) == 3)
        with server.connect() as sock:  # takes nothing of what it asks for
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b"GET /huge HTTP/1.1\r\nHost: h\r\n\r\n")
            server.wait(lambda: any(each._sending for each in server.sessions))
            server.check_later(10_000.0)
            server.check_later(20_000.0)
            server.wait(lambda: len(failed()) == 4)
        monkeypatch.setattr(Uploading, "take", full)
        assert b" 507 " in server.raw(put + b"Content-Length: 4\r\n\r\ndata")
    assert failed() == ["too_large", "gone", "stalled", "stalled", "disk_full"]


def full(uploading: Uploading, data: bytes) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def events(tmp_path: Path, name: str) -> list[str]:
    """What the lines of one event say behind its name."""
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    return [line.split(" ", 2)[2] for line in lines if line.split(" ")[1] == name]


def test_a_request_that_is_refused_is_a_line(
    serve: Callable[..., Any], users: Path, tmp_path: Path
) -> None:
    with serve(users=str(users)) as server:
        assert server.ask("GET", "/missing%20%C3%A4?secret=1").status == 404
        assert server.ask("DELETE", "/small").status == 405
        assert server.ask("GET", "/missing", Authorization=basic("alice")).status == 404
        assert server.ask("PUT", "/new", b"x", Authorization=basic("bob")).status == 403
        assert server.ask("PUT", "/no/new", b"x", Authorization=basic("alice")).status == 409
        assert b" 400 " in server.raw(b"GET /%zz?secret=1 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert server.ask("GET", "/small").status == 200
    address = "address=127.0.0.1"
    assert events(tmp_path, "http_request_refused") == [
        f'{address} status=404 method=GET path="/missing ä" user=anonymous',
        f"{address} status=405 method=DELETE path=/small user=anonymous",
        f"{address} status=404 method=GET path=/docs/missing user=alice",
        f"{address} status=403 method=PUT path=/new user=bob",
        f"{address} status=409 method=PUT path=/docs/no/new user=alice",
        f"{address} status=400 method=GET path=/%zz user=anonymous",
    ]


def test_requests_that_are_refused_again_and_again_are_some_lines_and_a_number(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    with serve() as server:
        server.raw(b"GET /missing HTTP/1.1\r\nHost: h\r\n\r\n" * 300)
        server.ask("DELETE", "/small")
    refused = events(tmp_path, "http_request_refused")
    assert len([line for line in refused if "status=404" in line]) == REFUSALS_AT_ONCE + 1
    assert refused[-1].endswith(f" count={300 - REFUSALS_AT_ONCE}")
    assert "status=405" in refused[-2]


def test_logins_are_logged_once_for_each_connection_and_failures_with_their_name(
    serve: Callable[..., Any], users: Path, tmp_path: Path
) -> None:
    limits = ["login_delay_s_max=0", "login_failures_max=2"]
    with serve(users=str(users), limit=limits) as server:
        request = f"GET /note.txt HTTP/1.1\r\nHost: h\r\nAuthorization: {basic('alice')}\r\n\r\n"
        for _ in range(2):
            server.raw(request.encode() * 3)
        for name in ("alice", "bob", "eve"):
            server.ask("GET", "/", Authorization=basic(name, "wrong"))
    assert events(tmp_path, "http_login") == ["address=127.0.0.1 user=alice"] * 2
    assert events(tmp_path, "http_login_failed") == [
        "address=127.0.0.1 user=alice",
        "address=127.0.0.1 user=bob",
    ]
    assert events(tmp_path, "lockout_begins") == ["address=127.0.0.1 user=bob seconds=900.0"]
    assert "wrong" not in (tmp_path / "log").read_text()
