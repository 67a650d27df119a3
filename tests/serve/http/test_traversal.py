"""No way to write a target leads out of the served folder, for reading or for writing."""

from __future__ import annotations

import os

import pytest
from http_server import responses

SECRET = b"secret of another folder"
UP = ["..", "%2e%2e", ".%2e", "%2E.", "..%00", "%252e%252e", "..;", "...", "%c0%ae%c0%ae", "..%20"]
SLASHES = ["/", "//", "%2f", "%2F", "%5c", "\\", "%c0%af", "/./", "%252f", "%u2215", "/%00/"]
TARGETS = sorted(
    {
        f"{start}{slash.join([up] * depth)}{slash}{name}"
        for start in ("/", "/docs/", "/docs", "//", "/\\", "/%5c")
        for up in UP
        for slash in SLASHES
        for depth in (1, 3)
        for name in ("outside/secret", "etc/passwd")
    }
    | {
        "/etc/passwd", "//etc/passwd", "/docs/../../outside/secret", "/file:///etc/passwd",
        "/link", "/link/", "/links/secret", "/absolute", "/docs/loop/loop/loop",
        "/proc/self/environ",
        "/.", "/..", "/../", "/%2e", "/%2e%2e/", "/docs/%2e%2e/%2e%2e/outside/secret",
    }
)  # fmt: skip


@pytest.fixture
def trap(folder):
    """A secret beside the served folder, and links that lead to it."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    os.symlink("../outside/secret", folder / "link")
    os.symlink("../outside", folder / "links")
    os.symlink("/etc/passwd", folder / "absolute")
    os.symlink(".", folder / "docs" / "loop")
    return outside


def ask(method, target, more=b""):
    return method + b" " + target.encode() + b" HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n"


def test_no_target_reads_what_is_outside(serve, trap):
    with serve(anonymous="rw") as server:
        for target in TARGETS:
            data = server.raw(ask(b"GET", target))
            assert SECRET not in data, target
            assert b"root:" not in data, target
            assert data.startswith(b"HTTP/1.1 "), target
            (response,) = responses(data)
            assert response.status in (200, 301, 400, 403, 404), target
            location = response.headers.get("location", "/x")
            assert location.startswith("/"), target
            assert not location.startswith(("//", "/\\")), target


def test_no_target_writes_what_is_outside(serve, trap):
    before = sorted(os.listdir(trap.parent))
    with serve(anonymous="rw") as server:
        for target in TARGETS:
            server.raw(ask(b"PUT", target, b"Content-Length: 4\r\n") + b"evil")
    assert (trap / "secret").read_bytes() == SECRET
    assert os.listdir(trap) == ["secret"]
    assert sorted(os.listdir(trap.parent)) == sorted([*before, "log"])


def test_special_files_are_not_opened(serve, folder):
    os.mkfifo(folder / "fifo")
    with serve(anonymous="rw") as server:
        assert server.ask("GET", "/fifo").status == 403
        assert server.ask("PUT", "/fifo", b"x").status == 403
