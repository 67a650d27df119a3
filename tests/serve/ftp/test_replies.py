"""Replies as bytes: one line, several, and nothing in them that ends a line."""

from __future__ import annotations

import ftplib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.ftp.replies import encode_text, path_reply, reply, reply_lines


def test_reply_is_code_blank_text_and_line_end() -> None:
    assert reply(226, "Transfer complete").data == b"226 Transfer complete\r\n"


def test_reply_lines_pads_what_is_between() -> None:
    whole = reply_lines(211, "Status:", ["211 not the end", "123-nor this", ""], "End")
    assert whole.data == b"211-Status:\r\n 211 not the end\r\n 123-nor this\r\n \r\n211 End\r\n"


@pytest.mark.parametrize("code", [221, 421])
def test_reply_closes_after_221_and_421(code: int) -> None:
    assert reply(code, "Bye").closes
    assert not reply(code - 1, "").closes


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("plain", b"plain"),
        ("a\r\n226 done", b"a??226 done"),
        ("\x1b[2J\x07\x00\x7f", b"?[2J???"),
        ("c1 \x9b2J", b"c1 ?2J"),
        ("grün 目", "grün 目".encode()),
        ("raw \udce9", b"raw \xe9"),
        ("iac \udcff", b"iac \xff\xff"),
        ("\u2028 stays", "\u2028 stays".encode()),
    ],
)
def test_encode_text_makes_control_characters_harmless(text: str, data: bytes) -> None:
    assert encode_text(text) == data


@pytest.mark.parametrize("path", ["/", "/a b", '/a"b', '/""', '/"', "/a/" + '"' * 9 + "x"])
def test_path_reply_is_read_by_ftplib(path: str) -> None:
    line = path_reply(257, path, "is the current folder").data.decode().removesuffix("\r\n")
    assert ftplib.parse257(line) == path


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60))
def test_path_reply_of_any_path_is_read_by_ftplib(path: str) -> None:
    data = path_reply(257, "/" + path, 'made "here"').data
    assert ftplib.parse257(data.decode().removesuffix("\r\n")) == "/" + path


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=5))
def test_reply_lines_never_ends_early(text: str, between: list[str]) -> None:
    encodable = [part.encode("utf-8", "ignore").decode() for part in [text, *between]]
    data = reply_lines(250, encodable[0], encodable[1:], "End").data
    lines = data.split(b"\n")
    assert len(lines) == len(between) + 3
    assert lines[-1] == b""
    assert all(line.endswith(b"\r") and b"\r" not in line[:-1] for line in lines[:-1])
    assert lines[0].startswith(b"250-")
    assert all(line.startswith(b" ") for line in lines[1:-2])
