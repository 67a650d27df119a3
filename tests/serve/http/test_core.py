"""The protocol core: each exchange is fed whole, byte by byte, and with data behind it."""

from __future__ import annotations

import pytest

from headrace.serve.http.core import (
    EMPTY_LINES_MAX,
    BodyPart,
    Core,
    EndOfBody,
    Fault,
    HeadLimits,
    Request,
)  # fmt: skip

HOST = b"Host: example\r\n"
SMALL = HeadLimits(line_bytes_max=64, head_bytes_max=256, fields_max=5)


def events(data, step=None, limits=HeadLimits()):  # noqa: B008
    """All events, the parts of a body joined."""
    core = Core(limits)
    found = []
    step = step or len(data)
    for start in range(0, len(data), step):
        core.receive(data[start : start + step])
        while (event := core.next_event()) is not None:
            if found and isinstance(event, BodyPart) and isinstance(found[-1], BodyPart):
                found[-1] = BodyPart(found[-1].data + event.data)
            else:
                found.append(event)
    return found


def plain(event):
    if isinstance(event, Request):
        return (event.method, event.target, event.minor, event.fields, event.keep_alive)
    if isinstance(event, Fault):
        return event.status
    return event


def ways(data, limits=HeadLimits()):  # noqa: B008
    """The events of *data*, which must be the same however the bytes come."""
    whole = events(data, limits=limits)
    assert list(map(plain, events(data, 1, limits))) == list(map(plain, whole))
    if not any(isinstance(event, Fault) for event in whole):
        behind = b"GET /behind HTTP/1.1\r\n" + HOST + b"\r\n"
        more = events(data + behind, limits=limits)
        assert list(map(plain, more[:-1])) == list(map(plain, whole))
        assert more[-1].target == b"/behind"
    return whole


def test_core_reads_a_request():
    (request,) = ways(b"GET /a?b=c HTTP/1.1\r\nHOST: Example:80\r\nX-A:  b c \t\r\n\r\n")
    assert (request.method, request.target, request.minor) == (b"GET", b"/a?b=c", 1)
    assert request.fields == {b"host": b"Example:80", b"x-a": b"b c"}
    assert request.keep_alive
    assert not request.has_body


def test_core_does_not_copy_the_rest_for_each_request():
    """It stays where it is: else many small requests cost the square of their bytes."""
    core = Core()
    coding = b"Transfer-Encoding: chunked\r\n\r\n"
    chunked = b"PUT /2 HTTP/1.1\r\n" + HOST + coding + b"1\r\na\r\n0\r\n\r\n"
    sized = b"PUT /3 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nb"
    some = b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n\r\n" + chunked + sized
    core.receive(some * 3)
    pending = core._pending
    for _ in range(2):
        assert None not in [core.next_event() for _ in range(7)]
        assert core._pending is pending
    assert core.pending_bytes == len(some)


def test_core_reads_pipelined_requests_one_at_a_time():
    core = Core()
    core.receive((b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n") * 3)
    assert core.next_event().target == b"/1"
    assert core.pending_bytes == 2 * len(b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert core.next_event() is not None
    assert core.next_event() is not None
    assert core.next_event() is None


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: foo, CLOSE\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
    ],
)
def test_core_knows_whether_the_connection_is_kept(version, connection, kept):
    (request,) = ways(b"GET / HTTP/" + version + b"\r\n" + HOST + connection + b"\r\n")
    assert request.keep_alive is kept


def test_core_reads_a_body_of_known_length():
    request, part, end = ways(b"PUT /f HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello")
    assert request.length_bytes == 5
    assert part == BodyPart(b"hello")
    assert end == EndOfBody()


def test_core_reads_an_empty_body():
    (request,) = ways(b"PUT /f HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    assert request.length_bytes == 0
    assert not request.has_body


def test_core_reads_a_chunked_body():
    request, part, end = ways(
        b"PUT /f HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\n06 ;x\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    )
    assert request.chunked
    assert part == BodyPart(b"hello world")
    assert end == EndOfBody()


def test_core_reads_an_empty_chunked_body():
    _, end = ways(b"PUT /f HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert end == EndOfBody()


@pytest.mark.parametrize(
    ("target", "read"),
    [
        (b"http://example/a?b", b"/a?b"),
        (b"HTTPS://example:1/", b"/"),
        (b"http://example", b"/"),
        (b"http://example?q", b"/?q"),
    ],
)
def test_core_reads_a_target_in_absolute_form(target, read):
    (request,) = ways(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert request.target == read


def test_core_ignores_empty_lines_before_a_request():
    (request,) = ways(b"\r\n" * EMPTY_LINES_MAX + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert request.target == b"/"


def test_core_ignores_an_offer_to_upgrade():
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    (request,) = ways(b"GET / HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
    assert request.keep_alive
    _, part, _ = ways(b"PUT / HTTP/1.1\r\n" + HOST + upgrade + b"Content-Length: 2\r\n\r\nhi")
    assert part.data == b"hi"


GET = b"GET / HTTP/1.1\r\n" + HOST
PUT = b"PUT / HTTP/1.1\r\n" + HOST
FAULTS = {
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, GET + HOST + b"\r\n"),
    "malformed host": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "folded line": (400, GET + b"X: a\r\n b\r\n\r\n"),
    "folded line first": (400, b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n"),
    "space before colon": (400, GET + b"X : a\r\n\r\n"),
    "no colon": (400, GET + b"X\r\n\r\n"),
    "no name": (400, GET + b": a\r\n\r\n"),
    "control character": (400, GET + b"X: a\x01\r\n\r\n"),
    "NUL": (400, GET + b"X: a\0\r\n\r\n"),
    "bare CR": (400, GET + b"X: a\rb\r\n\r\n"),
    "bare LF": (400, GET + b"X: a\nb: c\r\n\r\n"),
    "lines that end in LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "length and coding": (400, PUT + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "coding and length": (400, PUT + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    "two lengths": (400, PUT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    "the same length twice": (400, PUT + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n"),
    "a list of lengths": (400, PUT + b"Content-Length: 3, 3\r\n\r\n"),
    "signed length": (400, PUT + b"Content-Length: +3\r\n\r\n"),
    "negative length": (400, PUT + b"Content-Length: -3\r\n\r\n"),
    "hexadecimal length": (400, PUT + b"Content-Length: 0x3\r\n\r\n"),
    "empty length": (400, PUT + b"Content-Length: \r\n\r\n"),
    "endless length": (400, PUT + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n"),
    "chunked not last": (400, PUT + b"Transfer-Encoding: chunked, gzip\r\n\r\n"),
    "coded before chunked": (501, PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunked twice": (400, PUT + b"Transfer-Encoding: chunked, chunked\r\n\r\n"),
    "chunked in two fields": (400, PUT + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n"),
    "unknown coding": (400, PUT + b"Transfer-Encoding: xchunked\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "HTTP/3": (505, b"GET / HTTP/3.0\r\n\r\n"),
    "another protocol": (400, b"GET / RTSP/1.0\r\n\r\n"),
    "unknown method": (501, b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "method in lower case": (501, b"get / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "CONNECT": (501, b"CONNECT example:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "tab": (400, b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    "space in target": (400, b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no target": (400, b"GET HTTP/1.1\r\n" + HOST + b"\r\n"),
    "relative target": (400, b"GET a HTTP/1.1\r\n" + HOST + b"\r\n"),
    "asterisk of GET": (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n"),
    "bytes beyond ASCII in target": (400, b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "empty lines": (400, b"\r\n" * (EMPTY_LINES_MAX + 1)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_core_refuses(name):
    status, data = FAULTS[name]
    (fault,) = ways(data)
    assert isinstance(fault, Fault), fault
    assert fault.status == status
    assert fault.reason


CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n", b"\r\n", b"0x3\r\nabc\r\n", b"-1\r\n", b"+3\r\nabc\r\n", b" 3\r\nabc\r\n",
        b"3\nabc\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n", b"3;a=\x01\r\nabc\r\n",
        b"F" * 16 + b"\r\n", b"1;" + b"e" * 600, b"0\r\nno colon\r\n\r\n", b"0\r\n: x\r\n\r\n",
        b"0\r\n" + b"T: 12345678901234567890\r\n" * 600 + b"\r\n",
        b"1;" + b"e" * 400 + b"\r\nx\r\n" + (b"1;" + b"e" * 400 + b"\r\nx\r\n") * 100,
    ],
)  # fmt: skip
def test_core_refuses_the_chunks(body):
    assert ways(CHUNKED + body)[-1].status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 100, 414),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (GET + b"X: " + b"a" * 300, 431),
        (GET + b"X: " + b"a" * 300 + b"\r\n\r\n", 431),
        (GET + b"X: a\r\n" * 6 + b"\r\n", 431),
    ],
)
def test_core_keeps_its_limits(data, status):
    (fault,) = ways(data, SMALL)
    assert fault.status == status


def test_core_says_nothing_after_a_fault():
    core = Core()
    core.receive(b"bad\n")
    assert isinstance(core.next_event(), Fault)
    core.receive(GET + b"\r\n")
    assert core.next_event() is None
    assert core.pending_bytes == 0


def test_core_does_not_copy_a_large_part():
    core = Core()
    core.receive(PUT + b"Content-Length: 1000000\r\n\r\n")
    core.next_event()
    part = bytes(100_000)
    core.receive(part)
    assert core.next_event().data is part
