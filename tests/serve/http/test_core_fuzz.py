"""Hostile and random bytes: the core never raises, and never depends on how the bytes came.

$HEADRACE_FUZZ_CASES says how many cases of each kind there are.
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.serve.http.core import BodyPart, Core, EndOfBody, Fault, HeadLimits, Request

CASES = int(os.environ.get("HEADRACE_FUZZ_CASES", "200"))
FUZZ = settings(
    max_examples=CASES, deadline=None, database=None, derandomize=CASES <= 1000,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
LIMITS = HeadLimits(line_bytes_max=200, head_bytes_max=600, fields_max=8)

WORDS = [
    b"GET", b"PUT", b"HEAD", b"OPTIONS", b"BREW", b" ", b" ", b"/", b"/a%2e", b"*", b"?q=1", b"#",
    b"http://h/", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n",
    b"\r", b"Host: h\r\n", b"Host: h\r\n", b"Host", b":", b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 18446744073709551616\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"3\r\nabc\r\n",
    b"0\r\n\r\n", b"0\r\n", b"ffffffffffffffff\r\n", b";ext", b"T: x\r\n", b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"X: a\r\n b\r\n",
    b"\0", b"\xff", b"\x16\x03\x01", b"abc", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"X-" + b"a" * 150 + b": b\r\n",
]  # fmt: skip
SEEDS = [
    b"GET /a/b?c HTTP/1.1\r\nHost: h\r\nRange: bytes=0-5\r\nAccept: */*\r\n\r\n",
    b"PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    b"PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;a=b\r\nhi\r\n0\r\nA: b\r\n\r\n",
]


def play(data, sizes):
    """The events, made comparable; *sizes* are those of the pieces, again and again."""
    core = Core(LIMITS)
    found = []
    position = turn = 0
    while position < len(data):
        step = sizes[turn % len(sizes)]
        turn += 1
        core.receive(data[position : position + step])
        position += step
        while (event := core.next_event()) is not None:
            found.append(event)
            assert len(found) <= len(data) + 1
    comparable = []
    for event in found:
        if isinstance(event, Request):
            assert event.method
            assert event.target[:1] in (b"/", b"*")
            assert event.minor == 0 or b"host" in event.fields
            event = (event.method, event.target, event.fields, event.keep_alive, event.has_body)
        elif isinstance(event, BodyPart):
            assert event.data
            if comparable and isinstance(comparable[-1], BodyPart):
                comparable[-1] = BodyPart(comparable[-1].data + event.data)
                continue
        else:
            assert isinstance(event, EndOfBody | Fault)
            if isinstance(event, Fault):
                assert event.status in (400, 414, 431, 501, 505)
                # Of several mistakes it depends on the pieces which one is seen first.
                event = Fault(0, "")
        comparable.append(event)
    return comparable


def check(data, sizes):
    whole = play(data, [max(len(data), 1)])
    single = play(data, [1])
    pieces = play(data, sizes)
    assert whole == single == pieces
    behind = play(data + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", sizes)
    known = len(whole) - (bool(whole) and isinstance(whole[-1], BodyPart))
    assert behind[:known] == whole[:known]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@FUZZ
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(b"".join), sizes)
def test_core_reads_words_in_any_order(data, sizes):
    check(data, sizes)


@FUZZ
@given(st.binary(max_size=300), sizes)
def test_core_reads_any_bytes(data, sizes):
    check(data, sizes)


@FUZZ
@given(st.sampled_from(SEEDS), st.integers(0, 2**32), st.integers(1, 4), sizes)
def test_core_reads_damaged_requests(data, seed, changes, sizes):
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(changes):
        where = chance.randrange(len(damaged))
        what = chance.randrange(4)
        if what == 0:
            damaged[where] = chance.randrange(256)
        elif what == 1:
            damaged[where:where] = chance.choice(WORDS)
        elif what == 2:
            del damaged[where : where + chance.randrange(1, 6)]
        else:
            damaged[where:where] = damaged[: chance.randrange(20)]
        if not damaged:
            damaged = bytearray(b"x")
    check(bytes(damaged), sizes)
