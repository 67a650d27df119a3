"""What stands behind verbs, read and refused; addresses written so that clients read them."""

from __future__ import annotations

import contextlib
import ftplib
import ipaddress
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.ftp import arguments
from headrace.serve.ftp.arguments import (
    IPV4,
    IPV6,
    OFFSET_BYTES_MAX,
    BadArgument,
    Endpoint,
    FileMode,
    FileTime,
    Range,
)
from headrace.serve.ftp.commands import SITE_TABLE, TABLE

GOOD: list[tuple[Callable[[str], Any], str, Any]] = [
    (arguments.parse_port, "127,0,0,1,4,1", Endpoint("127.0.0.1", 1025, IPV4)),
    (arguments.parse_port, " 255,255,255,255,255,255 ", Endpoint("255.255.255.255", 65535, IPV4)),
    (arguments.parse_eprt, "|1|132.235.1.2|6275|", Endpoint("132.235.1.2", 6275, IPV4)),
    (arguments.parse_eprt, "|2|1080::8:800:200C:417A|5282|",
     Endpoint("1080::8:800:200c:417a", 5282, IPV6)),
    (arguments.parse_eprt, "!2!::1!1!", Endpoint("::1", 1, IPV6)),
    (arguments.parse_epsv, "", None),
    (arguments.parse_epsv, "1", IPV4),
    (arguments.parse_epsv, " 2 ", IPV6),
    (arguments.parse_epsv, "all", "ALL"),
    (arguments.parse_type, "A", "A"),
    (arguments.parse_type, "a n", "A"),
    (arguments.parse_type, "i", "I"),
    (arguments.parse_type, "L 8", "I"),
    (arguments.parse_structure, "f", "F"),
    (arguments.parse_mode, "s", "S"),
    (arguments.parse_mode, "Z", "Z"),
    (arguments.parse_allo, "0", 0),
    (arguments.parse_allo, "100 R 5", 100),
    (arguments.parse_offset, "0", 0),
    (arguments.parse_offset, " 007", 7),
    (arguments.parse_offset, str(OFFSET_BYTES_MAX), OFFSET_BYTES_MAX),
    (arguments.parse_range, "0 0", Range(0, 0)),
    (arguments.parse_range, "5  99", Range(5, 99)),
    (arguments.parse_range, "1 0", None),
    (arguments.parse_time, "19700101000000", 0.0),
    (arguments.parse_time, "20260102030405", 1767323045.0),
    (arguments.parse_time, "20260102030405.25", 1767323045.25),
    (arguments.parse_time, "20161231235960", 1483228800.0),
    (arguments.parse_time, "19691231235959", -1.0),
    (arguments.parse_file_time, "19700101000001 a b", FileTime(1.0, "a b")),
    (arguments.parse_file_time, "19700101000001  a", FileTime(1.0, " a")),
    (arguments.parse_file_mode, "644 a b", FileMode(0o644, "a b")),
    (arguments.parse_file_mode, "0755 a", FileMode(0o755, "a")),
    (arguments.parse_mechanism, "tls", "TLS"),
    (arguments.parse_mechanism, "TLS-C", "TLS"),
    (arguments.parse_mechanism, "SSL", "TLS"),
    (arguments.parse_buffer_size, "4294967295", 2**32 - 1),
    (arguments.parse_protection, "p", True),
    (arguments.parse_protection, "C", False),
    (arguments.parse_host, "FTP.Example.org", "ftp.example.org"),
    (arguments.parse_host, "[::1]", "::1"),
    (arguments.parse_host, "192.0.2.1", "192.0.2.1"),
    (arguments.parse_language, "", None),
    (arguments.parse_language, "en-GB", "en"),
]  # fmt: skip

BAD: list[tuple[Callable[[str], Any], int, list[str]]] = [
    (arguments.parse_port, 501,
     ["", "1,2,3,4,5", "1,2,3,4,5,6,7", "256,0,0,1,4,1", "1,2,3,4,5,256", "127,0,0,1,0,0",
      "127,0,0,1,4,-1", "127.0.0.1,4,1", "١,2,3,4,5,6", "1, 2,3,4,5,6", "1,2,3,4,5,0000"]),
    (arguments.parse_eprt, 501,
     ["", "|", "||||", "|1|127.0.0.1|0|", "|1|::1|21|", "|2|127.0.0.1|21|", "|1|127.0.0.1|65536|",
      "|1|127.0.0.1|21", "1|127.0.0.1|21|", "|1|127.0.0.1|21|x", "|1|127.1|21|", "|x|127.0.0.1|21|",
      "|2|fe80::1%eth0|21|", "|1|127.0.0.01|21|", "\x01" + "1\x01127.0.0.1\x0121\x01"]),
    (arguments.parse_eprt, 522, ["|0|x|1|", "|3|x|1|"]),
    (arguments.parse_epsv, 522, ["0", "3", "65535"]),
    (arguments.parse_epsv, 501, ["x", "-1", "ALL ALL", "65536"]),
    (arguments.parse_type, 501, ["", "X", "A X", "I N", "L", "A N N", "AN"]),
    (arguments.parse_type, 504, ["A T", "A C", "E", "E N", "L 7", "L 36"]),
    (arguments.parse_structure, 501, ["", "X", "FF"]),
    (arguments.parse_structure, 504, ["R", "P"]),
    (arguments.parse_mode, 501, ["", "X"]),
    (arguments.parse_mode, 504, ["B", "C"]),
    (arguments.parse_allo, 501, ["", "x", "1 2", "1 R", "1 R x", "1 R 2 3"]),
    (arguments.parse_offset, 501,
     ["", "-1", "+1", "1.5", "0x10", "1_0", "²", str(2**63), "9" * 19, "9" * 10_000]),
    (arguments.parse_range, 501, ["", "1", "5 4", "1 2 3", "a b", f"0 {2**63}"]),
    (arguments.parse_time, 501,
     ["", "2026", "20261302030405", "20260230000000", "20260102240000", "20260102036000",
      "20260102030461", "2026010203040", "202601020304055", "20260102030405.", "00000101000000",
      "٢٠٢٦٠١٠٢٠٣٠٤٠٥", "20260102030405." + "1" * 40]),
    (arguments.parse_file_time, 501, ["", "20260102030405", "20260102030405 ", "x a"]),
    (arguments.parse_file_mode, 501, ["", "644", "644 ", "888 a", "u+x a",
      "64 a", "00644 a", "٦44 a"]),
    (arguments.parse_file_mode, 504, ["4755 a", "1777 a", "2755 a"]),
    (arguments.parse_mechanism, 504, ["", "GSSAPI", "TLS-P", "KERBEROS_V4"]),
    (arguments.parse_buffer_size, 501, ["", "-1", "4294967296", "x"]),
    (arguments.parse_protection, 504, ["", "X", "PP"]),
    (arguments.parse_protection, 536, ["S", "E"]),
    (arguments.parse_host, 501,
     ["", "a b", "-a", "a..b", "[::1", "[127.0.0.1]", "::1", "[fe80::1%x]", "a" * 64, "a." * 200]),
    (arguments.parse_language, 504, ["fr", "english", "e"]),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "text", "value"), GOOD)
def test_parser_takes(parse: Callable[[str], Any], text: str, value: Any) -> None:
    parsed = parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("parse", "code", "text"), [(parse, code, text) for parse, code, texts in BAD for text in texts]
)
def test_parser_refuses(parse: Callable[[str], Any], code: int, text: str) -> None:
    with pytest.raises(BadArgument) as caught:
        parse(text)
    assert caught.value.code == code
    assert str(caught.value) == caught.value.text != ""


PARSERS = sorted({row.parse for row in [*TABLE, *SITE_TABLE]}, key=lambda parse: parse.__name__)


@pytest.mark.parametrize("parse", PARSERS)
@given(
    text=st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[0-9,.|: ALRZtlsenTLS\[\]-]{0,40}", fullmatch=True),
        st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape")),
    )
)
def test_parser_raises_nothing_but_bad_argument(parse: Callable[[str], Any], text: str) -> None:
    with contextlib.suppress(BadArgument):
        parse(text)


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_format_pasv_is_read_by_ftplib_and_by_port(
    address: ipaddress.IPv4Address, port: int
) -> None:
    text = arguments.format_pasv(str(address), port)
    assert ftplib.parse227(f"227 {text}") == (str(address), port)
    inside = text[text.index("(") + 1 : text.index(")")]
    assert arguments.parse_port(inside) == (str(address), port, IPV4)


@given(st.integers(1, 65535))
def test_format_epsv_is_read_by_ftplib(port: int) -> None:
    text = arguments.format_epsv(port)
    assert ftplib.parse229(f"229 {text}", ("host", 21)) == ("host", port)


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from("|!#$/"))
def test_parse_eprt_reads_every_address(address: Any, port: int, delimiter: str) -> None:
    family = IPV4 if address.version == 4 else IPV6
    text = delimiter.join(["", str(family), str(address), str(port), ""])
    assert arguments.parse_eprt(text) == (str(address), port, family)


@given(st.integers(-60_000_000_000, 250_000_000_000))
def test_parse_time_reads_what_format_time_writes(modified_s: int) -> None:
    assert arguments.parse_time(arguments.format_time(modified_s)) == modified_s


@pytest.mark.parametrize(
    ("modified_s", "text"),
    [
        (0.999, "19700101000000"),
        (-0.5, "19691231235959"),
        (1e12, "99991231235959"),
        (-1e12, "00010101000000"),
        (1e300, "99991231235959"),
    ],
)
def test_format_time_has_fourteen_digits_for_any_time(modified_s: float, text: str) -> None:
    assert arguments.format_time(modified_s) == text


def test_format_time_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert arguments.format_time(0) == "19700101000000"
        assert arguments.parse_time("19700101000000") == 0
    finally:
        monkeypatch.undo()
        time.tzset()
