"""Listings: what clients read of them, and what they can never be made to read."""

from __future__ import annotations

import ftplib
import os
import re
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve.ftp.arguments import BadArgument
from headrace.serve.ftp.facts import FACTS, feature_of_facts, format_facts, select_facts
from headrace.serve.ftp.listing import (
    CHUNK_BYTES,
    PATTERN_CHARACTERS_MAX,
    PATTERN_STARS_MAX,
    fact_chunks,
    fact_line,
    format_date,
    list_chunks,
    list_line,
    name_chunks,
    parse_list_argument,
    select,
)
from headrace.serve.users import Rights

NOW_S = 1_767_323_045.0  # 2026-01-02 03:04:05
DAY_S = 86400
FILE, FOLDER, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


class Entry(NamedTuple):
    name: str
    status: os.stat_result


def status(mode: int = FILE, size: int = 5, modified_s: float = NOW_S) -> os.stat_result:
    return os.stat_result([mode, 42, 0x801, 1, 1000, 1000, size, 0, int(modified_s), 0])


def entries(*names: str) -> list[Entry]:
    return [Entry(name, status()) for name in names]


# LIST


@pytest.mark.parametrize(
    ("entry", "begin", "end"),
    [
        (Entry("a b", status()), "-rw-r--r--    1 ftp", "           5 Jan  2 03:04 a b"),
        (Entry("d", status(FOLDER, 4096)), "drwxr-xr-x    1 ftp", "        4096 Jan  2 03:04 d"),
        (
            Entry("big", status(size=2**50)),
            "-rw-r--r--    1 ftp",
            " 1125899906842624 Jan  2 03:04 big",
        ),
        (Entry("out", status(LINK, 9)), "lrwxrwxrwx    1 ftp", "           9 Jan  2 03:04 out"),
        (
            Entry("old", status(modified_s=0)),
            "-rw-r--r--    1 ftp",
            "           5 Jan  1  1970 old",
        ),
    ],
)
def test_list_line_is_that_of_ls(entry: Entry, begin: str, end: str) -> None:
    line = list_line(entry.name, entry.status, NOW_S)
    assert line.startswith(begin + "      ftp     ")
    assert line.endswith(end)


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0, "Jan  2 03:04"),
        (-60, "Jan  2 03:05"),
        (-2 * DAY_S, "Jan  4  2026"),
        (182 * DAY_S, "Jul  4 03:04"),
        (183 * DAY_S, "Jul  3  2025"),
        (NOW_S - 253402300799, "Dec 31  9999"),
    ],
)
def test_format_date_has_the_time_of_day_for_half_a_year(age_s: float, text: str) -> None:
    assert format_date(NOW_S - age_s, NOW_S) == text


@pytest.mark.parametrize("modified_s", [1e20, -1e20, 2**62])
def test_format_date_bears_times_that_no_calendar_has(modified_s: float) -> None:
    assert len(format_date(modified_s, NOW_S)) == 12


# What lftp, wget and curl look for in a line of LIST.
LS = re.compile(
    r"([-dlbcps])[-rwxsStT]{9} +\d+ +(\S+) +(\S+) +(\d+) (\w{3}) ([ \d]\d) ( \d{4}|\d\d:\d\d) (.*)"
)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.integers(0, 2**63),
    st.integers(-(2**40), 2**40),
    st.integers(0, 0o177777),
)
def test_list_chunks_have_one_readable_line_for_each_entry(
    name: str, size: int, modified_s: int, mode: int
) -> None:
    data = b"".join(list_chunks([Entry(name, status(mode, size, modified_s))], NOW_S))
    line = data.decode().removesuffix("\r\n")
    assert "\n" not in line
    assert "\r" not in line
    if stat.S_IFMT(mode) in (stat.S_IFREG, stat.S_IFDIR) and 0 <= modified_s < 2**37:
        match = LS.fullmatch(line)
        assert match is not None
        assert int(match[4]) == size


# NLST


def test_name_chunks_have_names_behind_the_prefix() -> None:
    assert b"".join(name_chunks(entries("a", "b c"), "pub/")) == b"pub/a\r\npub/b c\r\n"


HOSTILE = ["a\r\nb", "\x1b[2J", "tab\t", "nul\0", "c1\x9b", "del\x7f"]


@pytest.mark.parametrize("name", HOSTILE)
def test_listings_for_programs_leave_out_names_with_control_characters(name: str) -> None:
    named = entries("before", name, "after")
    assert b"".join(name_chunks(named)) == b"before\r\nafter\r\n"
    assert b"".join(fact_chunks(named, ("size",), Rights.ALL)) == (
        b"size=5; before\r\nsize=5; after\r\n"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_list_chunks_have_question_marks_for_control_characters(name: str) -> None:
    data = b"".join(list_chunks(entries(name), NOW_S)).removesuffix(b"\r\n")
    shown = data.decode().partition(" 03:04 ")[2]
    assert shown == re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", name)


@pytest.mark.parametrize(
    ("name", "data"),
    [("é", b"\xc3\xa9"), ("\udce9", b"\xe9"), ("\udcff", b"\xff"), ("\xa0", b"\xc2\xa0")],
)
def test_listings_have_the_bytes_of_the_name(name: str, data: bytes) -> None:
    for chunks in (
        name_chunks(entries(name)),
        list_chunks(entries(name), NOW_S),
        fact_chunks(entries(name), FACTS, Rights.ALL),
    ):
        assert b"".join(chunks).endswith(data + b"\r\n")


# MLSD and MLST


def test_fact_line_has_all_facts_of_a_file() -> None:
    assert fact_line("/a b", status(), FACTS, Rights.ALL) == (
        "type=file;size=5;modify=20260102030405;perm=adfrw;unique=801g2a;UNIX.mode=0644; /a b"
    )


class Reader(ftplib.FTP):
    """CPython's reader of MLSD, of what it is given."""

    def __init__(self, data: bytes) -> None:
        self.lines = data.decode("utf-8", "surrogateescape").split("\r\n")
        assert self.lines.pop() == ""

    def sendcmd(self, cmd: str) -> str:
        return "200"

    def retrlines(self, cmd: str, callback: Callable[[str], object] | None = None) -> str:
        assert callback is not None
        for line in self.lines:
            callback(line)
        return "226"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)),
    st.lists(st.sampled_from(FACTS), min_size=1, unique=True),
    st.integers(0, 0o177777),
)
def test_fact_chunks_are_read_by_ftplib(names: list[str], wanted: list[str], mode: int) -> None:
    facts = tuple(fact for fact in FACTS if fact in wanted)
    named = [Entry(name, status(mode)) for name in names]
    read = list(Reader(b"".join(fact_chunks(named, facts, Rights.ALL))).mlsd())
    assert [name for name, _ in read] == names
    for _, found in read:
        found.pop("", None)  # its name for no facts at all
        assert found.pop("size", "5") == "5"
        assert {"size", *found} >= {fact.lower() for fact in facts} >= set(found)


def test_fact_line_has_no_size_of_a_folder() -> None:
    assert fact_line("/d", status(FOLDER), FACTS, Rights.ALL) == (
        "type=dir;modify=20260102030405;perm=cdeflmp;unique=801g2a;UNIX.mode=0755; /d"
    )


@pytest.mark.parametrize(
    ("rights", "file", "folder"),
    [
        (Rights(0), "", "e"),
        (Rights.READ_ONLY, "r", "el"),
        (Rights.CREATE, "", "ce"),
        (Rights.DELETE, "d", "ep"),
        (Rights.FOLDERS, "", "dem"),
        (Rights.RENAME, "f", "ef"),
        (Rights.REPLACE, "aw", "e"),
    ],
)
def test_perm_fact_is_what_the_rights_allow(rights: Rights, file: str, folder: str) -> None:
    assert fact_line("x", status(), ("perm",), rights) == f"perm={file}; x"
    assert fact_line("x", status(FOLDER), ("perm",), rights) == f"perm={folder}; x"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(stat.S_IFLNK, "OS.unix=symlink"), (stat.S_IFIFO, "OS.unix=special")],
)
def test_type_fact_of_what_is_neither_file_nor_folder(mode: int, kind: str) -> None:
    assert fact_line("x", status(mode), ("type", "size", "perm"), Rights.ALL) == (
        f"type={kind};perm=; x"
    )


def test_fact_line_without_facts_has_a_blank_and_the_path() -> None:
    assert fact_line("/x", status(), (), Rights.ALL) == " /x"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("type;size;", ("type", "size")),
        ("SIZE;TYPE", ("type", "size")),
        ("unix.MODE;", ("UNIX.mode",)),
        ("", ()),
        (";;;", ()),
        ("media-type;size", ("size",)),
        ("size;" * 1000, ("size",)),
    ],
)
def test_select_facts_takes_those_it_knows_in_its_order(text: str, facts: tuple[str, ...]) -> None:
    assert select_facts(text) == facts
    assert select_facts(format_facts(facts)) == facts


def test_feature_of_facts_marks_those_that_are_sent() -> None:
    assert feature_of_facts(("size",)) == "MLST type;size*;modify;perm;unique;UNIX.mode;"


# Chunks


def many(count: int) -> Iterator[Entry]:
    one = status()
    return (Entry(f"name-{number:06}", one) for number in range(count))


def test_chunks_are_bounded_and_nothing_is_lost() -> None:
    chunks = list(name_chunks(many(10_000)))
    assert len(chunks) > 5
    assert max(map(len, chunks)) < CHUNK_BYTES + 300
    assert min(map(len, chunks[:-1])) >= CHUNK_BYTES
    assert b"".join(chunks).split(b"\r\n")[:-1] == [entry.name.encode() for entry in many(10_000)]


@pytest.mark.parametrize("kind", ["list", "name", "fact"])
def test_chunks_of_a_hundred_thousand_names_take_little_memory(kind: str) -> None:
    named = many(100_000 if kind == "name" else 20_000)
    chunks = {
        "list": lambda: list_chunks(named, NOW_S),
        "name": lambda: name_chunks(named),
        "fact": lambda: fact_chunks(named, FACTS, Rights.ALL),
    }[kind]()
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in chunks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 1_000_000
    assert peak < 400_000


def test_chunks_of_nothing_are_none() -> None:
    assert list(list_chunks([], NOW_S)) == []


# What is asked for


@pytest.mark.parametrize(
    ("text", "path", "folder", "pattern", "prefix"),
    [
        ("", "", "", None, ""),
        ("-la", "", "", None, ""),
        ("-l -a", "", "", None, ""),
        ("-la pub", "pub", "pub", None, "pub/"),
        ("-a  -l  /pub/", "/pub/", "/pub/", None, "/pub/"),
        ("pub -la", "pub -la", "pub -la", None, "pub -la/"),
        ("./-la", "./-la", "./-la", None, "./-la/"),
        ("-", "-", "-", None, "-/"),
        ("*.txt", "*.txt", "", "*.txt", ""),
        ("pub/*.txt", "pub/*.txt", "pub", "*.txt", "pub/"),
        ("/*", "/*", "/", "*", "/"),
        ("/a/b[0-9]", "/a/b[0-9]", "/a", "b[0-9]", "/a/"),
        ("a*/b", "a*/b", "a*/b", None, "a*/b/"),
        ("-R *", "*", "", "*", ""),
        ("**/*", "**/*", "**", "*", "**/"),
    ],
)
def test_parse_list_argument(
    text: str, path: str, folder: str, pattern: str | None, prefix: str
) -> None:
    listed = parse_list_argument(text)
    assert listed == (path, folder, pattern)
    assert listed.prefix == prefix


@pytest.mark.parametrize(
    "pattern", ["*" * (PATTERN_STARS_MAX + 1), "?" * (PATTERN_CHARACTERS_MAX + 1)]
)
def test_parse_list_argument_refuses_too_much_work(pattern: str) -> None:
    with pytest.raises(BadArgument) as caught:
        parse_list_argument("/pub/" + pattern)
    assert caught.value.code == 501
    assert parse_list_argument("/pub/" + pattern[:-1]).pattern == pattern[:-1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["a.txt", "b.TXT", ".hidden", "ab", "[x]"]),
        ("*", ["a.txt", "b.TXT", "ab", "[x]"]),
        ("**", ["a.txt", "b.TXT", "ab", "[x]"]),
        (".*", [".hidden"]),
        ("*.txt", ["a.txt"]),
        ("a?", ["ab"]),
        ("[ab].*", ["a.txt", "b.TXT"]),
        ("[!a]*", ["b.TXT", "[x]"]),
        ("[[]x]", ["[x]"]),
        ("[", []),
        ("(", []),
        ("a.txt", ["a.txt"]),
    ],
)
def test_select_takes_names_as_a_shell_does(pattern: str | None, names: list[str]) -> None:
    named = entries("a.txt", "b.TXT", ".hidden", "ab", "[x]")
    assert [entry.name for entry in select(named, pattern)] == names


@given(st.text("ab*?[]!-\\&|~^.", max_size=PATTERN_CHARACTERS_MAX), st.text("ab.-", max_size=255))
def test_select_bears_any_pattern(pattern: str, name: str) -> None:
    try:
        listed = parse_list_argument(f"x/{pattern}")
    except BadArgument:
        return
    select(entries(name or "a"), listed.pattern)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "pattern", ["*a" * PATTERN_STARS_MAX + "b", "*[ab]" * PATTERN_STARS_MAX + "c"]
)
def test_select_is_not_made_to_work_for_years(pattern: str) -> None:
    # A matcher that goes back and tries each way would be at it until the machine is scrap.
    assert select(entries(*["a" * 255] * 100), pattern) == []
