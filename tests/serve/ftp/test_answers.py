"""What a core says by itself: what is wrong with a line, and what needs nothing but its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.serve.users import Rights

# Right, argument


@pytest.mark.parametrize(
    ("right", "line"),
    [
        (Rights.LIST, "LIST"),
        (Rights.LIST, "STAT /"),
        (Rights.READ, "RETR a"),
        (Rights.CREATE, "STOR a"),
        (Rights.REPLACE, "APPE a"),
        (Rights.DELETE, "DELE a"),
        (Rights.RENAME, "RNFR a"),
        (Rights.FOLDERS, "MKD a"),
        (Rights.CHANGE, "SITE CHMOD 600 a"),
        (Rights.CHANGE, "MFMT 20260102030405 a"),
    ],
)
def test_core_asks_for_the_right(driver: Callable[..., Any], right: Rights, line: str) -> None:
    assert (
        driver(rights=Rights.ALL & ~(right | Rights.REPLACE | Rights.CREATE)).log_in().code(line)
        == 550
    )
    driver(rights=right).log_in().command(line)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("PASV 1", 501),
        ("RETR", 501),
        ("RETR ", 501),
        ("RETR a\0b", 501),
        ("TYPE X", 501),
        ("TYPE E", 504),
        ("STRU R", 504),
        ("MODE Z", 504),
        ("MODE B", 504),
        ("REST -1", 501),
        ("PORT 1,2,3,4,5", 501),
        ("EPRT |3|x|1|", 522),
        ("EPSV 3", 522),
        ("SITE CHMOD 4755 a", 504),
        ("SITE", 501),
        ("HOST", 501),
        ("AUTH TLS", 502),
        ("LANG fr", 504),
        ("", 500),
        (" NOOP", 500),
        ("RETRX a", 500),
    ],
)
def test_core_says_what_is_wrong(logged_in: Any, line: str, code: int) -> None:
    if line == "HOST":
        logged_in.do("REIN", 220)
    assert logged_in.code(line) == code


@pytest.mark.parametrize("line", ["retr a", "Retr a", "RETR a", "rEtR a"])
def test_core_takes_verbs_in_any_case(logged_in: Any, line: str) -> None:
    assert logged_in.command(line).verb == "RETR"


@pytest.mark.parametrize(
    "name", ["a b", " a", "a ", "-a", "日本", "\udcff\udcfe", 'q"q', "a\rb", "a;b"]
)
def test_core_leaves_names_as_they_are(logged_in: Any, name: str) -> None:
    line = f"RETR {name}".encode("utf-8", "surrogateescape").replace(b"\xff", b"\xff\xff")
    [command] = logged_in.receive(line + b"\r\n")
    assert command.argument == name


def test_core_refuses_what_the_setup_does_not_offer(driver: Callable[..., Any]) -> None:
    played = driver(verbs_refused=frozenset(["STOR", "SITE CHMOD", "MLST"])).log_in()
    assert played.code("STOR a") == 502
    assert played.code("SITE CHMOD 600 a") == 502
    assert "MLST" not in played.text("FEAT")
    assert "STOR" not in played.text("HELP")
    assert "CHMOD" not in played.text("SITE HELP")


# Answers of its own


def test_core_names_what_is_selected_in_feat(logged_in: Any) -> None:
    logged_in.code("OPTS MLST size;TYPE;nonsense")
    logged_in.code("OPTS HASH md5")
    text = logged_in.text("FEAT")
    assert " MLST type*;size*;modify;perm;unique;UNIX.mode;\r\n" in text
    assert " HASH SHA-256;SHA-512;SHA-1;MD5*;CRC32\r\n" in text
    assert "AUTH" not in text
    assert " UTF8\r\n" in text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("OPTS MLST Size;", "200 MLST OPTS size;\r\n"),
        ("OPTS MLST", "200 MLST OPTS\r\n"),
        ("OPTS HASH", "200 SHA-256\r\n"),
        ("OPTS HASH sha-512", "200 SHA-512\r\n"),
        ("opts utf8 on", "200 Names are UTF-8\r\n"),
        ("SYST", "215 UNIX Type: L8\r\n"),
        ("PWD", '257 "/" is the current folder\r\n'),
        ("HELP retr", "214 RETR path: send the file\r\n"),
        ("HELP AUTH", "214 AUTH: not offered\r\n"),
    ],
)
def test_core_answers(logged_in: Any, line: str, text: str) -> None:
    assert logged_in.text(line) == text


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("OPTS UTF8 OFF", 504),
        ("OPTS HASH MD4", 504),
        ("OPTS RETR x", 501),
        ("HELP XYZZY", 501),
    ],
)
def test_core_refuses_options_that_are_none(logged_in: Any, line: str, code: int) -> None:
    assert logged_in.code(line) == code


def test_core_has_mode_z_where_it_is_offered(driver: Callable[..., Any]) -> None:
    played = driver(mode_z=True).log_in()
    assert " MODE Z\r\n" in played.text("FEAT")
    assert played.code("MODE Z") == 200
    assert played.core.state.mode == "Z"
