"""Logs: one line for each event, whatever a client called its files; and they never fail."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve import logs
from headrace.serve.logs import Log, Transfer, escape, xferlog_line

NOW_S = 1_795_789_025.1239
HOSTILE = [
    "two\nlines",
    "\r\n2026-01-01T00:00:00.000Z login user=root",
    "\x1b[31mred\x1b[0m",
    "\x07\x08\x7f\x00",
    "\u202egnp.exe",
    "\u2028line separator",
    "\x85\x9b31m",
    "\udcff\udc80 bytes",
    "\ud800",
    'quo"te and back\\slash \\x1b',
    "a=b c=d",
    "",
]


@pytest.fixture
def log(tmp_path: Path):
    made = Log("text", str(tmp_path / "log"), str(tmp_path / "xferlog"), wall_s=lambda: NOW_S)
    yield made
    made.close()


@pytest.fixture
def json_log(tmp_path: Path):
    made = Log("json", str(tmp_path / "log"), wall_s=lambda: NOW_S)
    yield made
    made.close()


def lines(file: Path) -> list[str]:
    return file.read_text("utf-8").split("\n")[:-1]


def test_event_is_a_line_of_text(log, tmp_path):
    log.event("login", user="joe", address="192.0.2.1", port=2121, tls=True, nothing=None)
    assert lines(tmp_path / "log") == [
        "2026-11-27T14:17:05.123Z login user=joe address=192.0.2.1 port=2121 tls=true"
    ]


def test_event_is_an_object_of_json(json_log, tmp_path):
    json_log.event(
        "login", user="joe", port=2121, rate=1.5, ok=True, nothing=None, odd=float("inf")
    )
    (line,) = lines(tmp_path / "log")
    assert json.loads(line) == {
        "time": "2026-11-27T14:17:05.123Z", "event": "login",
        "user": "joe", "port": 2121, "rate": 1.5, "ok": True, "odd": "inf",
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_nothing_that_a_client_says_begins_a_line_or_reaches_a_terminal(
    log, json_log, tmp_path, text
):
    log.event("login", user=text, after="x")
    log.transfer(Transfer(text, text, 1, 1.0, text, password=text, anonymous=True, service=text))
    json_log.event("login", user=text, after="x")
    written = lines(tmp_path / "log")
    assert len(written) == 3
    assert all(line.isprintable() for line in written)
    assert written[0].endswith(" after=x")
    assert json.loads(written[2])["user"] == escape(text)
    (transfer,) = lines(tmp_path / "xferlog")
    assert transfer.isprintable()
    assert len(transfer.split(" ")) == 18


ESCAPE = re.compile(r"\\(?:(\\)|x(..)|u(....)|U(........))")


def unescaped(text: str) -> str:
    """What was escaped; a byte of more than ASCII is a surrogate escape again."""

    def back(found: re.Match[str]) -> str:
        backslash, byte, short, long = found.groups()
        if backslash:
            return backslash
        code = int(byte or short or long, 16)
        return chr(code + 0xDC00 if byte and code >= 0x80 else code)

    return ESCAPE.sub(back, text)


@given(text=st.text(st.characters() | st.sampled_from("\n\r\x1b\udc80\\"), max_size=50))
def test_escaped_text_is_printable_and_different_texts_stay_different(text):
    escaped = escape(text)
    assert escaped.isprintable()
    assert escape(escaped) == escaped or "\\" in escaped
    escaped.encode("utf-8")  # no surrogate is left
    assert unescaped(escaped) == text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "gone"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ConnectionResetError(), "ConnectionResetError"),
        (EOFError(), "EOFError"),
        (ValueError("odd"), "odd"),
    ],
    ids=repr,
)
def test_an_error_has_a_reason_that_is_never_empty(error, reason):
    assert logs.reason_of(error) == reason


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/ümlaut/日本.txt", "/ümlaut/日本.txt"),
        ("\udcfc", r"\xfc"),  # a byte that is no UTF-8
        ("\x1b", r"\x1b"),
        ("\x85", r"\u0085"),  # C1, which is two bytes in UTF-8
        ("\udc85", r"\x85"),
        ("\xa0", r"\u00a0"),
        ("\u202e", r"\u202e"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        (r"\xfc", r"\\xfc"),
    ],
    ids=ascii,
)
def test_printable_characters_stand_as_they_are_and_others_as_nothing_else_does(
    log, json_log, tmp_path, text, written
):
    log.transfer(Transfer(text, "192.0.2.1", 1, 1.0, "joe"))
    log.event("mkdir", path=text)
    json_log.event("mkdir", path=text)
    transfer, event, in_json = lines(tmp_path / "log")
    assert [word for word in transfer.split() if word.startswith("path=")] in (
        [f"path={written}"],
        [f'path="{written}"'],
    )
    assert event.endswith((f"path={written}", f'path="{written}"'))
    assert json.loads(in_json)["path"] == written
    assert "日" not in text or "日" in in_json
    assert lines(tmp_path / "xferlog")[0].split(" ")[8] == written


def test_value_that_is_very_long_is_cut(log, tmp_path):
    log.event("odd", path="x" * 1_000_000)
    (line,) = lines(tmp_path / "log")
    assert len(line) < 10_000


def test_transfer_is_an_event_and_a_line_of_xferlog(log, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    log.transfer(Transfer("/pub/a file", "192.0.2.1", 102_400, 2.6, "joe", incoming=True))
    log.transfer(
        Transfer(
            "/x", "::1", 5, 0.001, "anonymous",
            anonymous=True, password="me@home", binary=False, complete=False,
        )
    )  # fmt: skip
    assert lines(tmp_path / "xferlog") == [
        "Fri Nov 27 14:17:05 2026 3 192.0.2.1 102400 /pub/a_file b _ i r joe ftp 0 * c",
        "Fri Nov 27 14:17:05 2026 1 ::1 5 /x a _ o a me@home ftp 0 * i",
    ]
    (first, second) = lines(tmp_path / "log")
    assert 'transfer direction=in path="/pub/a file" bytes=102400 seconds=2.6' in first
    assert "bytes_per_s=39385 complete=true user=joe" in first
    assert "complete=false" in second
    monkeypatch.undo()
    time.tzset()


def test_day_of_the_month_has_two_digits_as_programs_that_read_xferlog_expect():
    assert xferlog_line(Transfer("/x", "h", 1, 1.0, "joe"), 1_796_104_800.0).split(" ")[2] == "01"


def test_log_is_written_to_its_new_file_after_reopening(log, tmp_path):
    log.event("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.event("two")
    log.reopen()
    log.event("three")
    assert [line.split()[1] for line in lines(tmp_path / "log.1")] == ["one", "two"]
    assert [line.split()[1] for line in lines(tmp_path / "log")] == ["three"]


def test_file_that_cannot_be_reopened_stays_the_old_one_and_says_so(log, tmp_path):
    (tmp_path / "log").rename(tmp_path / "log.1")
    (tmp_path / "log").mkdir()
    log.reopen()
    log.event("still")
    assert "log_not_reopened" in lines(tmp_path / "log.1")[0]
    assert lines(tmp_path / "log.1")[1].endswith("still")


def test_full_disk_is_counted_told_once_and_said_when_there_is_room_again(tmp_path, capfd):
    file = tmp_path / "log"
    file.symlink_to("/dev/full")
    log = Log("text", str(file))
    for _ in range(3):
        log.event("lost")
    assert log.lost == 3 + 2  # and the lines that would have said so
    assert capfd.readouterr().err.count("cannot be written: No space left") == 1
    file.unlink()
    log.reopen()
    log.event("found")
    first, second = lines(file)
    assert "log_lost lines=" in first
    assert second.endswith("found")
    log.event("again")
    assert len(lines(file)) == 3
    log.close()


def test_standard_error_that_is_full_or_closed_stops_nobody(monkeypatch):
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(logs, "STANDARD_ERROR", full)
    log = Log()
    log.event("lost")
    log.transfer(Transfer("/x", "h", 1, 0.0, "joe"))
    os.close(full)
    log.event("lost")
    assert log.lost >= 3
    log.close()
    log.event("after the end")


def test_value_whose_text_fails_is_an_event_and_no_exception(log, tmp_path):
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("odd")

    log.event("seen", value=Odd())
    (line,) = lines(tmp_path / "log")
    assert "log_error of=seen" in line


def test_lines_of_many_threads_and_processes_are_whole(log, tmp_path):
    def write() -> None:
        for number in range(200):
            log.event("line", number=number, filler="x" * 500)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines(tmp_path / "log")
    assert len(written) == 800
    assert all(line.endswith("filler=" + "x" * 500) for line in written)


def test_log_file_is_not_for_everybody_and_must_be_possible(tmp_path):
    Log("text", str(tmp_path / "log")).close()
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0
    with pytest.raises(FileNotFoundError):
        Log("text", str(tmp_path / "no" / "log"))


def test_transfer_is_the_same_line_whichever_way_it_is_made(tmp_path):
    one = Log(file=str(tmp_path / "log"), wall_s=lambda: 0.0)
    for transfer in (
        Transfer("/a b", "192.0.2.1", 7, 0.0, "joe"),
        Transfer("/ä\n", "::1", 10**12, 3.21049, "", incoming=True, complete=False, service="http"),
        Transfer("/x", "::1", 1, 1.0, "", complete=False, reason="Input/output error"),
    ):
        rate = transfer.bytes / transfer.seconds if transfer.seconds else 0.0
        one.event("transfer", **logs._transfer_fields(transfer, rate))
        one.transfer(transfer)
    one.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]
    assert lines[4] == lines[5]
    assert 'complete=false reason="Input/output error" user=' in lines[4]
