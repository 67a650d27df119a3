"""What is slow is done by threads: not too much at once, whoever waits for it or leaves."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_server import WAIT_S_MAX, Server

from headrace.serve.meters import Meter
from headrace.serve.passwords import Cost, hash_password
from headrace.serve.site import Site
from headrace.serve.users import Rights, User, UserLine, Users

WRONG = {"Authorization": "Basic " + base64.b64encode(b"joe:wrong").decode()}


@pytest.fixture
def site(make_site: Callable[..., Site], tmp_path: Path) -> Site:
    """Two jobs at most, the second of which waits; joe has a password."""
    joe = UserLine(User("joe", "/", Rights.ALL), hash_password("right", Cost(n=16, r=1, p=1)))
    (tmp_path / "users").write_text(f"{joe}\n")
    limits = ["threads_max=1", "jobs_queued_max=1", "login_delay_s_max=0"]
    return make_site(users=str(tmp_path / "users"), anonymous="rw", limit=limits, keep_partial=True)


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site, None) as made:
        yield made


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Passwords are looked at when this is set."""
    may_go = threading.Event()
    real = Users.verify

    def waiting(self: Users, *words: Any) -> User | None:
        assert may_go.wait(WAIT_S_MAX)
        return real(self, *words)

    monkeypatch.setattr(Users, "verify", waiting)
    yield may_go
    may_go.set()


def send_login(server: Server) -> Any:
    sock = server.connect()
    sock.sendall(
        b"GET /small HTTP/1.1\r\nHost: h\r\nAuthorization: %b\r\n\r\n"
        % WRONG["Authorization"].encode()
    )
    return sock


def test_more_jobs_than_may_wait_are_refused_as_busy(server: Server, held: threading.Event):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(send_login(server)) for _ in range(2)]
        server.wait(lambda: server.site.meters.get(Meter.JOBS) == 2)
        refused = server.ask("GET", "/small", **WRONG)
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert server.ask("GET", "/small").status == 200  # what needs no thread goes on
        held.set()
        for sock in socks:
            assert sock.recv(100).startswith(b"HTTP/1.1 401 ")
    assert server.ask("GET", "/small", **WRONG).status == 401


def test_client_who_leaves_before_the_answer_has_failed_to_log_in(
    server: Server, held: threading.Event
):
    sock = send_login(server)
    server.wait(lambda: server.site.meters.get(Meter.JOBS) == 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()  # a reset; after a mere end it might still wait for the answer
    server.wait(lambda: not server.sessions)
    held.set()
    server.wait(lambda: server.site.meters.get(Meter.LOGINS_FAILED) == 1)
    assert server.site.gate.login_failed("127.0.0.1") == 0.0
    for _ in range(8):
        server.site.gate.login_failed("127.0.0.1")
    assert server.site.gate.login_refused("127.0.0.1")


def test_part_of_a_put_is_never_kept(server: Server, folder: Path):
    before = set(os.listdir(folder))
    with server.connect() as sock:
        sock.sendall(b"PUT /new HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
        server.wait(lambda: server.site.meters.get(Meter.RECEIVING) == 1)
    server.wait(lambda: not server.sessions)
    assert set(os.listdir(folder)) == before
