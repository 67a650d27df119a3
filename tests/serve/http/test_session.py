"""Sessions: what a client gets, by raw sockets and http.client."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import http.client
import os
import re
import socket
import time

import pytest
from http_server import read_all, responses

import headrace
from headrace.serve.http.figures import Status
from headrace.serve.http.receiving import UNWANTED_BYTES_MAX
from headrace.serve.http.session import REQUESTS_PER_TURN_MAX, Session
from headrace.serve.meters import Meter
from headrace.serve.send_buffer import SO_BUF_LOCK

GET = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
LOOPS = ["asyncio", *(info.name for info in headrace.models() if info.available)]


@pytest.fixture(scope="module", params=LOOPS)
def each_loop(request):
    return request.param


def test_session_serves_on_each_loop(serve, folder, each_loop):
    """One of everything that depends on the loop."""
    with serve(each_loop, anonymous="rw") as server:
        assert server.ask("GET", "/small").body == (folder / "small").read_bytes()
        assert server.ask("GET", "/large").body == (folder / "large").read_bytes()
        assert server.ask("GET", "/docs/").status == 200
        assert server.ask("PUT", "/new", b"new" * 100_000).status == 201
        assert (folder / "new").read_bytes() == b"new" * 100_000
        data = b"".join(GET % name for name in (b"small", b"large", b"none", b"large", b"empty"))
        got = responses(server.raw(data))
        assert [response.status for response in got] == [200, 200, 404, 200, 200]
        assert got[3].body == (folder / "large").read_bytes()
        with server.connect() as sock:
            sock.sendall(GET % b"large" * 3)
            sock.shutdown(socket.SHUT_WR)
            assert len(read_all(sock)) > 3 * (folder / "large").stat().st_size


def test_session_serves_under_tls(serve, folder):
    with serve(tls=True, anonymous="rw") as server, server.connect() as sock:
        sock.sendall((GET % b"large") * 2 + GET % b"small")
        sock.sendall(b"GET /docs/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got = responses(read_all(sock))
        assert [len(response.body) for response in got[:3]] == [1048576, 1048576, 1000]
        assert got[1].body == (folder / "large").read_bytes()
        assert b"note.txt" in got[3].body


def test_session_answers_with_the_file_and_what_is_said_of_it(serve, folder):
    with serve() as server:
        response = server.ask("GET", "/text.txt")
        assert response.status == 200
        assert response.body == b"a text\n"
        headers = response.headers
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert re.fullmatch(r'"[0-9a-f]+-7-[0-9a-f]+"', headers["etag"])
        assert headers["last-modified"].endswith(" GMT")
        assert headers["accept-ranges"] == "bytes"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        head = server.ask("HEAD", "/text.txt")
        assert head.body == b""
        assert {**head.headers, "date": ""} == {**headers, "date": ""}


def test_session_answers_an_empty_file(serve):
    with serve() as server:
        response = server.ask("GET", "/empty", Range="bytes=0-")
        assert (response.status, response.body) == (200, b"")
        assert response.headers["content-length"] == "0"


def test_session_serves_ranges(serve, folder):
    small = (folder / "small").read_bytes()
    with serve() as server:
        one = server.ask("GET", "/small", Range="bytes=10-19")
        assert (one.status, one.body) == (206, small[10:20])
        assert one.headers["content-range"] == "bytes 10-19/1000"
        assert server.ask("GET", "/small", Range="bytes=-5").body == small[-5:]
        none = server.ask("GET", "/small", Range="bytes=1000-")
        assert none.status == 416
        assert none.headers["content-range"] == "bytes */1000"
        assert server.ask("GET", "/small", Range="bytes=x").status == 200
        assert server.ask("HEAD", "/small", Range="bytes=0-1").status == 200
        tag = one.headers["etag"]
        assert server.ask("GET", "/small", Range="bytes=0-1", If_Range=tag).status == 206
        assert server.ask("GET", "/small", Range="bytes=0-1", If_Range='"other"').status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_session_serves_several_ranges(serve, folder, tls):
    large = (folder / "large").read_bytes()
    with serve(tls=tls) as server, server.connect() as sock:
        sock.sendall(
            b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
            b"Range: bytes=5-9, 100000-700000, -3\r\n\r\n"
        )
        (response,) = responses(read_all(sock))
    assert response.status == 206
    boundary = response.headers["content-type"].partition("boundary=")[2].encode()
    parts = response.body.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    read = [part[2:].partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [body[:-2] for _, _, body in read] == [large[5:10], large[100000:700001], large[-3:]]
    assert b"Content-Range: bytes 5-9/1048576" in read[0][0]


def test_session_knows_what_the_client_has(serve):
    with serve() as server:
        headers = server.ask("GET", "/small").headers
        tag, date = headers["etag"], headers["last-modified"]
        unchanged = server.ask("GET", "/small", If_None_Match=tag)
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["etag"] == tag
        assert "content-length" not in unchanged.headers
        assert server.ask("GET", "/small", If_Modified_Since=date).status == 304
        assert (
            server.ask("GET", "/small", If_None_Match='"x"', If_Modified_Since=date).status == 200
        )
        assert server.ask("GET", "/small", If_Match='"x"').status == 412


def test_session_serves_the_coding_that_is_liked(serve, folder):
    packed = gzip.compress(b"a text\n")
    with serve() as server:
        (folder / "text.txt.gz").write_bytes(packed)
        (folder / "text.txt.br").write_bytes(b"as if it were brotli")
        plain = server.ask("GET", "/text.txt")
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == "Accept-Encoding"
        zipped = server.ask("GET", "/text.txt", Accept_Encoding="gzip, br;q=0.1")
        assert zipped.headers["content-encoding"] == "gzip"
        assert zipped.headers["content-type"] == "text/plain; charset=utf-8"
        assert zipped.headers["etag"] != plain.headers["etag"]
        assert zipped.body == packed
        tail = server.ask("GET", "/text.txt", Accept_Encoding="gzip", Range="bytes=-4")
        assert (tail.status, tail.body) == (206, packed[-4:])
        assert tail.headers["content-range"].endswith(f"/{len(packed)}")
        best = server.ask("GET", "/text.txt", Accept_Encoding="gzip, br")
        assert best.headers["content-encoding"] == "br"
        os.utime(folder / "text.txt.gz", (0, 0))
        stale = server.ask("GET", "/text.txt", Accept_Encoding="gzip")
        assert "content-encoding" not in stale.headers


def test_session_shows_folders(serve):
    with serve() as server:
        page = server.ask("GET", "/docs/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b'href="./note.txt"' in page.body
        assert server.ask("HEAD", "/docs/").headers["content-length"] == str(len(page.body))
        assert server.ask("GET", "/site/").body == b"<p>front page"
        moved = server.ask("GET", "/docs?sort=size")
        assert (moved.status, moved.headers["location"]) == (301, "/docs/?sort=size")
        assert server.ask("GET", "//docs").headers["location"] == "/docs/"
        told = server.ask("GET", "/docs/", Accept="application/json")
        assert told.headers["content-type"] == "application/json"
        assert server.ask("GET", "/text.txt/").status == 404
        error = server.ask("GET", "/none", Accept="text/html")
        assert error.headers["content-type"].startswith("text/html")


def test_session_names_what_is_allowed(serve):
    with serve() as server:
        for method in ("POST", "DELETE", "MKCOL", "TRACE", "PROPFIND"):
            response = server.ask(method, "/small")
            assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert server.ask("OPTIONS", "/small").status == 204
        assert responses(server.raw(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"))[0].status == 204
        assert server.ask("BREW", "/small").status == 501
    with serve(anonymous="rw") as server:
        assert server.ask("OPTIONS", "/").headers["allow"] == "GET, HEAD, OPTIONS, PUT"


def test_session_keeps_connections(serve):
    with serve() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for _ in range(3):
            connection.request("GET", "/small")
            assert len(connection.getresponse().read()) == 1000
        assert len(server.sessions) == 1
        connection.close()
        old = server.raw(b"GET /text.txt HTTP/1.0\r\n\r\nGET /text.txt HTTP/1.0\r\n\r\n")
        assert len(responses(old)) == 1
        kept = b"GET /text.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        got = responses(server.raw(kept * 2))
        assert [response.headers["connection"] for response in got] == ["keep-alive"] * 2


def test_session_answers_many_pipelined_requests_in_order(serve, folder):
    count = 5 * REQUESTS_PER_TURN_MAX
    with serve() as server:
        for number in range(count):
            (folder / f"{number}").write_text(f"{number}")
        data = b"".join(GET % b"%d" % number for number in range(count))
        got = responses(server.raw(data))
        assert [response.body for response in got] == [b"%d" % number for number in range(count)]


def test_session_answers_only_what_a_client_takes(serve, folder):
    """Who pipelines for megabytes and reads nothing holds no more than a few pieces here."""
    (folder / "piece").write_bytes(bytes(10_000))
    with serve() as server, server.connect() as sock:
        sock.setblocking(False)
        (session,) = server.call(lambda: list(server.sessions)) or [None]
        while session is None or server.call(session._transport.is_reading):
            with contextlib.suppress(BlockingIOError):
                sock.send(GET % b"piece" * 500)
            (session,) = server.call(lambda: list(server.sessions)) or [None]
        assert session._transport.get_write_buffer_size() < 200_000
        assert session._core.pending_bytes < 2_000_000


class PatientTransport:
    """Takes everything at once; says whether it is read from."""

    def __init__(self):
        self.written = b""
        self.reading = True

    def get_extra_info(self, name, default=None):
        return {"peername": ("127.0.0.1", 1)}.get(name, default)

    def write(self, data):
        self.written += data

    def is_reading(self):
        return self.reading

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    close = resume_reading

    def is_closing(self):
        return False


@pytest.mark.parametrize("notice", ["data", "eof", "resumed"])
def test_session_has_one_turn_and_then_the_others_have_theirs(make_site, notice):
    """Whatever the transport tells in between; and is not read from while much is to be done."""

    async def play():
        session, transport = Session(make_site()), PatientTransport()
        session.connection_made(transport)
        request = GET % b"empty"
        answered = []
        session.data_received(request * 5 * REQUESTS_PER_TURN_MAX)
        for _ in range(3):
            answered.append(transport.written.count(b"HTTP/1.1 200"))
            if notice == "data":
                session.data_received(request)
            elif notice == "eof":
                session.eof_received()
            else:
                session.resume_writing()
        answered.append(transport.written.count(b"HTTP/1.1 200"))
        assert answered == [REQUESTS_PER_TURN_MAX] * 4
        assert transport.reading
        session.data_received(request * 5000)
        assert not transport.reading
        await asyncio.sleep(0)
        assert transport.written.count(b"HTTP/1.1 200") == 2 * REQUESTS_PER_TURN_MAX
        while not transport.reading:
            await asyncio.sleep(0)
        assert session._core.pending_bytes == 0
        session.connection_lost(None)

    asyncio.run(asyncio.wait_for(play(), 60))


@pytest.mark.parametrize("limits", [[], ["rate_bytes_per_s_max=100000000"]])
@pytest.mark.parametrize("tls", [False, True])
def test_fast_client_is_no_longer_bound_by_the_send_buffer(serve, folder, tls, limits):
    (folder / "huge").write_bytes(bytes(16 * 1024 * 1024))
    with serve(tls=tls, limit=limits) as server, server.connect() as sock:
        sock.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        left = 8 * 1024 * 1024
        while left > 0:
            left -= len(sock.recv(65536))
            time.sleep(0.003)  # slower than the server sends
        (session,) = server.sessions
        assert session._is_lifted
        kernel = session._transport.get_extra_info("socket")
        assert kernel.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == 0


def test_session_is_over_when_a_file_cannot_be_sent(serve, folder, monkeypatch):
    """Nothing behind it is carried out, and no file stays open: the fixture looks."""
    (folder / "bad").write_bytes(b"x" * 100)
    pread = os.pread

    def failing(fd, *rest):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/bad"):
            raise OSError(errno.EIO, "I/O error")
        return pread(fd, *rest)

    monkeypatch.setattr(os, "pread", failing)
    put = b"PUT /new HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na"
    with serve(anonymous="rw") as server, server.connect() as sock:
        sock.sendall(GET % b"small" + (GET % b"bad") * 3 + put)
        assert len(responses(read_all(sock))) <= 1
        server.wait(lambda: not server.sessions)
        assert server.site.meters.get(Meter.REQUESTS) == 2
        assert server.site.meters.get(Meter.SENDING) == 0
        assert server.site.meters.get(Meter.TRANSFERS_FAILED) == 1
    assert not (folder / "new").exists()


def test_session_counts_a_download_that_is_aborted_once(serve, folder):
    os.truncate(folder / "large", 64 * 2**20)
    with serve() as server, server.connect() as sock:
        sock.sendall(GET % b"large")
        assert sock.recv(1)
        (session,) = server.call(lambda: list(server.sessions))
        server.call(session.abort)
        server.wait(lambda: not server.sessions)
        assert server.site.meters.get(Meter.SENDING) == 0


def test_session_closes_after_a_fault(serve):
    with serve() as server:
        got = responses(server.raw(GET % b"text.txt" + b"nonsense\r\n\r\n" + GET % b"text.txt"))
        assert [response.status for response in got] == [200, 400]
        assert got[1].headers["connection"] == "close"
        long = b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"
        assert responses(server.raw(long))[0].status == 414
        many = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 200 + b"\r\n"
        assert responses(server.raw(many))[0].status == 431
        assert responses(server.raw(b"GET / HTTP/2.0\r\n\r\n"))[0].status == 505


def test_session_reads_a_short_body_that_nobody_wants(serve):
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    with serve() as server:
        got = responses(server.raw(post + GET % b"text.txt"))
        assert [response.status for response in got] == [405, 200]
        body = b"a" * (UNWANTED_BYTES_MAX + 1)
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        long = b"POST / HTTP/1.1\r\nHost: h\r\n" + length + body
        got = responses(server.raw(long + GET % b"text.txt"))
        assert [response.status for response in got] == [405]
        assert got[0].headers["connection"] == "close"
        chunk = b"%x\r\n%b\r\n" % (len(body), body)
        chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 9
        assert [response.status for response in responses(server.raw(chunked))] == [405]


def test_session_asks_no_body_of_a_client_that_waits(serve):
    put = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with serve() as server, server.connect() as sock:
        sock.sendall(put)
        (response,) = responses(read_all(sock))
        assert (response.status, response.headers["connection"]) == (401, "close")
        assert server.ask("GET", "/small", Expect="the unexpected").status == 417


def test_session_shows_the_status_to_this_machine(serve):
    def with_status(site):
        site.status = lambda: Status(time.time(), 1.0, 100)
        site.metrics = lambda: "clients 7\n"

    with serve() as server:
        assert server.ask("GET", "/.status").status == 404
    with serve(prepare=with_status) as server:
        assert b"<h1>Status</h1>" in server.ask("GET", "/.status").body
    with serve(prepare=with_status, status_only=True) as server:
        assert b"<h1>Status</h1>" in server.ask("GET", "/").body
        # A scraper with a wrong path is to notice.
        assert server.ask("GET", "/small").status == 404
        assert server.ask("GET", "/metrics").body == b"clients 7\n"


def test_session_counts(serve, tmp_path):
    with serve(anonymous="rw") as server:
        server.ask("GET", "/small")
        server.ask("GET", "/large")
        server.ask("PUT", "/up", b"12345")
        server.wait(lambda: not server.sessions)
        meters = server.site.meters
        assert meters.get(Meter.REQUESTS) == 3
        assert meters.get(Meter.FILES_SENT) == 2
        assert meters.get(Meter.BYTES_SENT) == 1_049_576
        assert meters.get(Meter.FILES_RECEIVED) == 1
        assert meters.get(Meter.BYTES_RECEIVED) == 5
        for gauge in (Meter.CLIENTS, Meter.HTTP_SESSIONS, Meter.SENDING, Meter.RECEIVING):
            assert meters.get(gauge) == 0
    log = (tmp_path / "log").read_text()
    assert "direction=out path=/small bytes=1000 " in log
    assert "direction=in path=/up bytes=5 " in log


def test_session_drains(serve, folder):
    os.truncate(folder / "large", 64 * 2**20)
    with serve() as server, server.connect() as idle, server.connect() as busy:
        server.wait(lambda: len(server.sessions) == 2)
        busy.sendall((GET % b"large") * 2)
        beginning = busy.recv(100)
        server.call(lambda: [session.drain() for session in list(server.sessions)])
        assert idle.recv(1) == b""
        (response,) = responses(beginning + read_all(busy))
        assert len(response.body) == 64 * 2**20


def test_session_tells_of_its_transfers(serve, folder):
    os.truncate(folder / "large", 64 * 2**20)
    with serve(anonymous="rw") as server, server.connect() as down, server.connect() as up:
        down.sendall(GET % b"large")
        up.sendall(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
        server.wait(lambda: [done for _, done in transfers(server)][1:] == [5])
        sent, received = server.call(lambda: transfers(server))
        assert sent[0] == ("down", "/large", 64 * 2**20)
        assert received == (("up", "/up", 10), 5)
        assert 0 < sent[1] < 64 * 2**20


def transfers(server):
    now = server.loop.time()
    told = [session.transfer_status(now) for session in server.sessions]
    return sorted(((t.direction, t.path, t.size_bytes), t.done_bytes) for t in told if t)


class ReentrantTransport:
    """Pauses and resumes the protocol within each write, as TLS transports may."""

    def __init__(self):
        self.written = b""
        self.closed = False
        self.protocol = None

    def get_extra_info(self, name, default=None):
        return {"peername": ("127.0.0.1", 1), "sslcontext": "TLS"}.get(name, default)

    def write(self, data):
        self.written += data
        self.protocol.pause_writing()
        self.protocol.resume_writing()

    def get_write_buffer_size(self):
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.closed

    def is_reading(self):
        return True

    def close(self):
        self.closed = True


def test_session_is_not_confused_by_a_transport_that_resumes_within_write(make_site, folder):
    async def play():
        transport = ReentrantTransport()
        transport.protocol = session = Session(make_site())
        session.connection_made(transport)
        names = (b"large", b"text.txt", b"large", b"small", b"large")
        session.data_received(b"".join(GET % name for name in names))
        session.data_received(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        while not transport.closed:
            await asyncio.sleep(0)
        session.connection_lost(None)
        got = responses(transport.written)
        assert [len(r.body) for r in got[:5]] == [1048576, 7, 1048576, 1000, 1048576]
        assert len(got) == 6
        assert got[2].body == (folder / "large").read_bytes()

    asyncio.run(asyncio.wait_for(play(), 60))
