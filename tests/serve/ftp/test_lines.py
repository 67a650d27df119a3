"""Lines out of bytes: whole, byte by byte, with more behind; too long, too much, Telnet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.serve.ftp.lines import TOO_LONG, Lines
from headrace.serve.ftp.replies import Reply
from headrace.serve.ftp.telnet import REFUSALS_BYTES_MAX, Telnet

IAC, DONT, DO, WONT, WILL, SB, DM, IP, SE = 255, 254, 253, 252, 251, 250, 242, 244, 240


def lines_of(data: bytes, step: int, line_bytes_max: int = 10) -> list[bytes | Reply]:
    lines = Lines(line_bytes_max, 1000)
    found: list[bytes | Reply] = []
    for at in range(0, len(data), step):
        lines.receive(data[at : at + step])
        assert lines.pending_bytes <= 1000
        found += drain(lines)
    assert lines.pending_bytes <= line_bytes_max + 1
    return found


def drain(lines: Lines) -> Iterator[bytes | Reply]:
    while (line := lines.take_line()) is not None:
        yield line


STREAMS = [
    (b"NOOP\r\n", [b"NOOP"]),
    (b"NOOP\n", [b"NOOP"]),
    (b"\r\n\n", [b"", b""]),
    (b"a\rb\r\n", [b"a\rb"]),
    (b"a\r\r\n", [b"a\r"]),
    (b"NOOP\r\nPWD\r\n", [b"NOOP", b"PWD"]),
    (b"NOOP\r\nunfinished", [b"NOOP"]),
    (b"0123456789\n", [b"0123456789"]),
    (b"012345678\r\n", [b"012345678"]),
    (b"0123456789\r\n", [TOO_LONG]),
    (b"0123456789a\nNOOP\n", [TOO_LONG, b"NOOP"]),
    (b"A\n" + b"x" * 500 + b"\nB\n" + b"y" * 11 + b"\n", [b"A", TOO_LONG, b"B", TOO_LONG]),
    (bytes([IAC, IP, IAC, DM]) + b"ABOR\r\n", [b"ABOR"]),
    (b"a\xff\xffb\n", [b"a\xffb"]),
    (b"a\xffb\n", [b"a\xffb"]),
    (bytes([IAC, DO, 1]) + b"x" + bytes([IAC, WILL, 10]) + b"\n", [b"x"]),
    (bytes([IAC, SB, 24, 1, 10, IAC, IAC, IAC, SE]) + b"x\n", [b"x"]),
    (bytes([IAC, 241, IAC, 249]) + b"x\n", [b"x"]),
]


@pytest.mark.parametrize(("data", "expected"), STREAMS)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_lines_come_out_however_they_are_cut(
    data: bytes, expected: list[bytes | Reply], step: int
) -> None:
    assert lines_of(data, step) == expected


@pytest.mark.parametrize(("data", "expected"), STREAMS)
def test_lines_leave_what_comes_behind(data: bytes, expected: list[bytes | Reply]) -> None:
    lines = Lines(10, 1000)
    lines.receive(data.removesuffix(b"unfinished") + b"QU")
    assert list(drain(lines)) == expected
    lines.receive(b"IT\r\n")
    assert list(drain(lines)) == [b"QUIT"]
    assert lines.pending_bytes == 0


def test_lines_keep_no_more_of_a_long_line_than_shows_it() -> None:
    lines = Lines(10, 1000)
    for _ in range(100):
        lines.receive(b"x" * 1000)
        assert lines.pending_bytes == 11
        assert not lines.full
        assert list(drain(lines)) == []
    lines.receive(b"\n")
    assert list(drain(lines)) == [TOO_LONG]


def test_lines_hear_nothing_after_a_flood() -> None:
    lines = Lines(10, 100)
    lines.receive(b"NOOP\n" * 20)
    assert not lines.flooded
    assert lines.full
    lines.receive(b"NOOP\n")
    assert lines.flooded
    assert lines.deaf
    lines.receive(b"NOOP\n")
    assert list(drain(lines)) == []


def test_lines_count_only_what_is_unread() -> None:
    lines = Lines(10, 100)
    for _ in range(100):
        lines.receive(b"NOOP\n" * 20)
        assert len(list(drain(lines))) == 20
    assert not lines.flooded


def test_lines_forget_a_telnet_command_that_was_cut_when_they_stop_hearing() -> None:
    lines = Lines(10, 100)
    lines.receive(b"abc\xff")
    lines.stop_hearing()
    lines.receive(b"evil\n")
    lines.hear_again()
    lines.receive(b"x\n")
    assert list(drain(lines)) == [b"x"]


def test_telnet_refuses_options() -> None:
    lines = Lines(10, 100)
    lines.receive(bytes([IAC, DO, 6, IAC, WILL, 31, IAC, DONT, 1, IAC, WONT, 2]) + b"x\n")
    assert lines.take_refusals() == bytes([IAC, WONT, 6, IAC, DONT, 31])
    assert lines.take_refusals() == b""
    assert list(drain(lines)) == [b"x"]


def test_telnet_keeps_refusals_bounded() -> None:
    telnet = Telnet()
    assert telnet.strip(bytes([IAC, DO, 6]) * 1000) == b""
    assert len(telnet.refusals) == REFUSALS_BYTES_MAX
    assert not telnet.idle


def test_telnet_keeps_nothing_of_a_subnegotiation() -> None:
    telnet = Telnet()
    telnet.strip(bytes([IAC, SB]))
    for _ in range(100):
        assert telnet.strip(b"x" * 1000 + b"\xff") == b""
        assert len(telnet._rest) == 1
    assert repr(telnet) == "<Telnet rest=b'\\xff' in a subnegotiation>"
    assert telnet.strip(bytes([SE]) + b"NOOP\n") == b"NOOP\n"
    assert telnet.idle
