"""What the log says of FTP sessions: all that an administrator asks it."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import Client, Server, reset, wait_until

from headrace.serve.ftp.logins import MAIL_CHARACTERS_MAX
from headrace.serve.ftp.receiving import Receiving


def xferlog(server: Server, lines: int) -> list[str]:
    """The log of transfers, once it has so many."""
    assert server.settings.xferlog is not None
    file = Path(server.settings.xferlog)
    wait_until(lambda: file.read_bytes().count(b"\n") == lines, "xferlog")
    return file.read_text("utf-8").splitlines()


def test_an_anonymous_password_is_in_xferlog_and_nobody_elses(
    start: Callable[..., Server], users_file: Path
) -> None:
    server = start(users=str(users_file))
    with Client(server.port) as client:
        client.log_in(password="bob@example.org").retrieve("RETR file")
        client.say("NOOP")
        assert client.say("USER alice").startswith("331")
        assert client.say("PASS secret").startswith("230")
        client.retrieve("RETR inner")
        client.say("NOOP")
    anonymous, alice = xferlog(server, 2)
    assert anonymous.endswith(" o a bob@example.org ftp 0 * c")
    assert alice.endswith(" o r alice ftp 0 * c")
    assert "secret" not in server.log()
    assert "bob@" not in server.log()


def test_an_anonymous_password_that_is_long_is_cut(client: Client, server: Server) -> None:
    with Client(server.port) as other:
        other.log_in(password="x" * 5000).retrieve("RETR file")
    assert f" a {'x' * MAIL_CHARACTERS_MAX} ftp " in xferlog(server, 1)[0]


def test_paths_are_those_below_the_served_folder(
    start: Callable[..., Server], users_file: Path
) -> None:
    server = start(users=str(users_file))
    with Client(server.port) as client:
        client.log_in("alice", "secret")
        assert client.store("STOR up", b"data").startswith("226")
        client.retrieve("RETR inner")
        for command in (
            "MKD made", "RMD made", "RNFR up", "RNTO new", "SITE CHMOD 600 new",
            "MFMT 20240102030405 new", "SITE UTIME 20240102030406 new", "DELE new",
        ):  # fmt: skip
            assert client.say(command)[0] in "23", command
    up, inner = xferlog(server, 2)
    assert " /folder/up b _ i r alice " in up
    assert " /folder/inner b _ o r alice " in inner
    log = server.log()
    for line in (
        "direction=in path=/folder/up bytes=4",
        "direction=out path=/folder/inner bytes=6",
        "mkdir address=127.0.0.1 user=alice path=/folder/made",
        "rmdir address=127.0.0.1 user=alice path=/folder/made",
        "rename address=127.0.0.1 user=alice old=/folder/up new=/folder/new",
        "chmod address=127.0.0.1 user=alice path=/folder/new mode=600",
        "utime address=127.0.0.1 user=alice path=/folder/new modified=20240102030405",
        "utime address=127.0.0.1 user=alice path=/folder/new modified=20240102030406",
        "delete address=127.0.0.1 user=alice path=/folder/new",
    ):
        assert f" {line}" in log, line


def test_refused_connections_are_a_line_at_once_and_then_a_number(
    start: Callable[..., Server],
) -> None:
    server = start(clients_per_address_max=1)
    with Client(server.port) as client:
        client.log_in()
        for _ in range(20):
            with Client(server.port) as refused:
                assert refused.answer().startswith("421")
        assert server.log().count(" refused ") == 1
        server.call(lambda: server.worker.log.tell_repeated(everything=True))
    first, second = (line for line in server.log().splitlines() if " refused " in line)
    assert "count" not in first
    assert second.endswith(" count=19")


def reasons(server: Server, count: int) -> list[str]:
    """Of the transfers that have failed, once there are so many."""
    found: list[str] = []

    def all_there() -> bool:
        found[:] = re.findall(r" complete=false reason=(\S+) ", server.log())
        return len(found) >= count

    wait_until(all_there, "failed transfers")
    return found


def begin_upload(client: Client) -> socket.socket:
    """An upload of which a part has come."""
    data = client.data()
    assert client.say("STOR up").startswith("150")
    data.sendall(b"a part")
    return data


def test_a_failed_transfer_has_its_reason(
    start: Callable[..., Server], users_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(users=str(users_file), stall_timeout_s=0.3)
    with Client(server.port) as client:
        client.log_in("alice", "secret")
        # The client ends the transfer, the session, the data connection, or does nothing.
        data = begin_upload(client)
        assert client.say("ABOR").startswith("426")
        assert client.answer().startswith("226")
        data.close()
        data = begin_upload(client)
        reset(data)
        assert client.answer().startswith("426")
        data = begin_upload(client)
        assert client.answer().startswith("426")
        data.close()
        data = begin_upload(client)
    assert reasons(server, 4) == ["aborted", "gone", "stalled", "session_ended"]
    data.close()
    with Client(server.port) as client:
        client.log_in("small", "secret")
        assert client.store("STOR up", b"x" * 1000).startswith("552")
        monkeypatch.setattr(Receiving, "write", full)
        assert client.store("STOR up", b"x").startswith("452")
    assert reasons(server, 6)[4:] == ["quota", "disk_full"]


def full(receiving: Receiving, data: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_logins_failures_and_the_lockout_are_lines(
    start: Callable[..., Server], users_file: Path
) -> None:
    server = start(users=str(users_file), login_delay_s_max=0.0, login_failures_max=2)
    with Client(server.port) as client:
        client.log_in()
        for name in ("alice", "eve"):
            client.say(f"USER {name}")
            assert client.say("PASS wrong").startswith("530")
    for _ in range(3):
        with Client(server.port) as client:
            client.answer()
            client.say("USER alice")
            assert client.say("PASS secret").startswith("421")
    said = [line.split(" ", 1)[1] for line in server.log().splitlines()]
    assert said == [
        "login address=127.0.0.1 user=anonymous service=ftp",
        "login_failed address=127.0.0.1 user=alice",
        "login_failed address=127.0.0.1 user=eve",
        "lockout_begins address=127.0.0.1 user=eve seconds=900.0",
        "login_locked_out address=127.0.0.1 user=alice",  # and two more, gathered
    ]


def test_what_a_user_may_not_do_is_logged(start: Callable[..., Server], served: Path) -> None:
    """Refused by the rights before the file is looked at, and by the tree."""
    (served / "out").symlink_to("/etc/passwd")
    server = start(anonymous="ro")
    with Client(server.port) as client:
        client.log_in()
        with client.data():
            assert client.say("STOR new").startswith("550")
        with client.data():
            assert client.say("RETR out").startswith("550")
    log = server.log()
    assert "ftp_refused address=127.0.0.1 command=STOR argument=new reason=no_right" in log
    assert "ftp_refused address=127.0.0.1 command=RETR argument=out reason=not_permitted" in log
