"""Whoever holds a connection must use it: the limits of time, with the clock told."""

from __future__ import annotations

import os
import socket
import time

import pytest
from http_server import read_all, responses

from headrace.serve.http.pace import LOOKS, Pace, Progress
from headrace.serve.http.session import Session
from headrace.serve.limits import Limits
from headrace.serve.users import Rights, User

GET = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n"
LIMITS = Limits()


def test_connection_without_a_request_is_closed(serve):
    with serve() as server, server.connect() as sock:
        server.wait(lambda: len(server.sessions) == 1)
        server.check_later(LIMITS.header_timeout_s - 1)
        assert len(server.sessions) == 1
        server.check_later(LIMITS.header_timeout_s)
        assert sock.recv(1) == b""


def test_idle_connection_is_closed(serve):
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"text.txt")
        assert sock.recv(1000)
        server.check_later(LIMITS.keep_alive_timeout_s - 1)
        assert len(server.sessions) == 1
        server.check_later(LIMITS.keep_alive_timeout_s + 1)
        assert sock.recv(1) == b""


def test_slow_head_is_not_waited_for(serve):
    """Slowloris: that bytes drip in does not help."""
    with serve() as server, server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        (session,) = server.call(lambda: list(server.sessions)) or [None]
        server.wait(lambda: any(s._in_head for s in server.sessions))
        server.check_later(LIMITS.header_timeout_s - 5)
        (session,) = server.call(lambda: list(server.sessions))
        since_s = session._since_s
        sock.sendall(b"Host: h\r\n")
        server.wait(lambda: session._core.pending_bytes > 20)
        assert session._since_s == since_s
        server.check_later(LIMITS.header_timeout_s)
        (response,) = responses(read_all(sock))
        assert (response.status, response.headers["connection"]) == (408, "close")


def test_slow_body_is_not_waited_for(serve, folder):
    with serve(anonymous="rw") as server, server.connect() as sock:
        sock.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\nabc")
        server.wait(lambda: any(s._received_bytes == 3 for s in server.sessions))
        server.check_later(0)
        server.check_later(LIMITS.stall_timeout_s + 1)
        assert responses(read_all(sock))[0].status == 408
        sock.close()
        server.wait(lambda: not server.sessions)
        assert not (folder / "x").exists()


@pytest.mark.parametrize("tls", [False, True])
def test_slow_reader_is_not_waited_for(serve, folder, tls):
    os.truncate(folder / "large", 64 * 2**20)
    with serve(tls=tls) as server, server.connect() as sock:
        sock.sendall(GET % b"large")
        assert sock.recv(1)
        (session,) = server.call(lambda: list(server.sessions))
        full(server, session)
        first_s = LIMITS.stall_timeout_s / LOOKS + 1
        server.check_later(first_s)
        server.check_later(first_s + LIMITS.stall_timeout_s - 1)
        assert len(server.sessions) == 1
        server.check_later(first_s + 2 * LIMITS.stall_timeout_s)
        server.wait(lambda: not server.sessions)


def test_slow_reader_is_one_who_reads(serve, folder):
    """Less than what makes the kernel take more: nothing is sent, and something is received."""
    os.truncate(folder / "large", 64 * 2**20)
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"large")
        assert sock.recv(1)
        (session,) = server.call(lambda: list(server.sessions))
        full(server, session)
        seconds = LIMITS.stall_timeout_s / LOOKS + 1
        server.check_later(seconds)
        before = server.call(session._unsent)
        while server.call(session._unsent) == before:
            sock.recv(65536)
        server.check_later(seconds + LIMITS.stall_timeout_s + 1)
        assert len(server.sessions) == 1


def full(server, session):
    """Wait until nothing more fits into the socket."""
    before = -1
    while before != server.call(lambda: session._sending.sent_bytes):
        before = server.call(lambda: session._sending.sent_bytes)
        time.sleep(0.05)


def test_client_that_does_not_take_its_answers_is_not_waited_for(serve, folder):
    (folder / "piece").write_bytes(bytes(10_000))
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"piece" * 4000)
        server.wait(lambda: any(s._paused for s in server.sessions))
        settled(server)
        server.check_later(0)
        server.check_later(LIMITS.stall_timeout_s + 1)
        server.wait(lambda: not server.sessions)


def settled(server):
    """Wait until no more fits into the socket, and no more is written."""
    before = -1
    while before != (now := server.call(lambda: sum(s._unsent() for s in server.sessions))):
        before = now
        time.sleep(0.1)


def test_peer_that_does_not_end_is_not_waited_for(serve):
    with serve() as server, server.connect() as sock:
        sock.sendall(b"nonsense\n")
        assert responses(read_all(sock))[0].status == 400
        assert len(server.sessions) == 1
        sock.sendall(b"and more")
        server.check_later(6)
        server.wait(lambda: not server.sessions)


def test_too_many_clients_are_told_so(serve):
    with serve(limit=["clients_per_address_max=2"]) as server:
        with server.connect(), server.connect():
            server.wait(lambda: len(server.sessions) == 2)
            (response,) = responses(server.raw(b""))
            assert response.status == 503
            assert "retry-after" in response.headers
        server.wait(lambda: not server.sessions)
        assert server.ask("GET", "/small").status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_rate_is_not_exceeded(serve, folder, tls):
    """800 KiB beyond the first piece, at 4 MiB/s: no faster than a fifth of a second."""
    with serve(tls=tls, limit=["rate_bytes_per_s_max=4194304"]) as server, server.connect() as sock:
        began_s = time.monotonic()
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        (response,) = responses(read_all(sock))
        assert response.body == (folder / "large").read_bytes()
        assert time.monotonic() - began_s > 0.1


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_rate_of_an_upload_is_not_exceeded(serve, folder, tls, chunked):
    """200 KiB at 1 MiB/s: no faster than a fifth of a second; what comes behind it has to wait."""
    body = os.urandom(200 * 1024)
    if chunked:
        fields = b"Transfer-Encoding: chunked"
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        fields, content = b"Content-Length: %d" % len(body), body
    put = b"PUT /up HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % fields
    get = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    limit = ["rate_bytes_per_s_max=1048576"]
    with serve(tls=tls, anonymous="rw", limit=limit) as server, server.connect() as sock:
        began_s = time.monotonic()
        sock.sendall(put + content + get)
        got = responses(read_all(sock))
        assert time.monotonic() - began_s > 0.1
        assert [response.status for response in got] == [201, 200]
        assert got[1].body == body


def test_client_that_has_to_wait_is_not_too_slow(serve):
    with serve(anonymous="rw", limit=["rate_bytes_per_s_max=1"]) as server:
        with server.connect() as sock:
            sock.sendall(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n12345")
            server.wait(lambda: any(session._upload_waits() for session in server.sessions))
            server.check_later(LIMITS.stall_timeout_s + 1)
            server.check_later(2 * LIMITS.stall_timeout_s + 2)
            (session,) = server.call(lambda: list(server.sessions))
            assert not server.call(session._transport.is_reading)
            server.call(session.abort)
        server.wait(lambda: not server.sessions)


@pytest.mark.parametrize(
    ("of_all", "of_user", "both"),
    [(None, None, None), (9, None, 9), (None, 9, 9), (9, 10, 9), (10, 9, 9)],
)
def test_of_two_maximum_rates_both_hold(make_site, of_all, of_user, both):
    """A user's own is no way past the one of all."""
    session = Session(make_site(limit=[f"rate_bytes_per_s_max={of_all or 'off'}"]))
    session._user = User("u", "/", Rights.READ, of_user)
    assert session._rate_max() == both


def test_file_that_shrinks_ends_the_connection(serve, folder):
    os.truncate(folder / "large", 64 * 2**20)
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"large")
        assert sock.recv(1)
        os.truncate(folder / "large", 1000)
        assert len(read_all(sock)) < 64 * 2**20
        server.wait(lambda: not server.sessions)


def test_file_that_is_replaced_is_sent_as_it_was(serve, folder):
    (folder / "large").write_bytes(b"a" * 16 * 2**20)
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"large")
        beginning = sock.recv(1)
        (folder / "new").write_bytes(b"b")
        os.rename(folder / "new", folder / "large")
        sock.shutdown(socket.SHUT_WR)
        (response,) = responses(beginning + read_all(sock))
        assert response.body == b"a" * 16 * 2**20


def test_reset_in_every_state_leaves_nothing(serve, folder):
    os.truncate(folder / "large", 64 * 2**20)
    beginnings = [
        b"", b"GET / HT", GET % b"large", GET % b"docs/", GET % b"small" * 100, b"bad\n",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
    ]  # fmt: skip
    with serve(anonymous="rw") as server:
        for beginning in beginnings * 3:
            sock = server.connect()
            sock.sendall(beginning)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        assert server.ask("GET", "/small").status == 200
        server.wait(lambda: not server.sessions)
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


def test_progress_is_measured_in_windows():
    limits = Limits(stall_timeout_s=10.0, rate_bytes_per_s_min=100, rate_window_s=20.0)
    progress = Progress(0.0)
    assert not progress.too_slow(9, 0, limits)
    assert progress.too_slow(10, 0, limits)
    progress = Progress(0.0)
    assert [progress.too_slow(s, s * 100, limits) for s in range(1, 41)] == [False] * 40
    progress = Progress(0.0)
    assert [progress.too_slow(s, s * 99, limits) for s in range(1, 21)] == [False] * 19 + [True]


def test_progress_is_not_looked_at_all_the_time():
    limits = Limits(stall_timeout_s=10.0, rate_window_s=20.0)
    progress = Progress(0.0)
    assert [s for s in range(11) if progress.is_due(s, limits)] == [2, 4, 6, 8, 10]


def test_pace_does_not_make_up_for_idleness():
    pace = Pace(1000, 0.0)
    assert pace.turn_bytes == 100
    assert pace.spend(100, 0.0) == pytest.approx(0.1)
    assert pace.spend(100, 0.1) == pytest.approx(0.1)
    assert pace.spend(100, 50.0) == pytest.approx(0.0)
    assert pace.spend(100, 50.0) == pytest.approx(0.1)
