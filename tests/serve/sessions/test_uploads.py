"""STOR, APPE, STOU: whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import WAIT_S_MAX, Client, Server, reset, wait_until

from headrace.serve.passwords import Cost, hash_password

BIG = os.urandom(64) * 64 * 1024  # 4 MiB


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def test_stor_makes_a_file(client: Client, served: Path) -> None:
    assert client.store("STOR new", BIG).startswith("226")
    assert (served / "new").read_bytes() == BIG


def test_stor_makes_an_empty_file(client: Client, served: Path) -> None:
    assert client.store("STOR new", b"").startswith("226")
    assert (served / "new").read_bytes() == b""


def test_stor_replaces_a_file_when_it_is_whole(client: Client, served: Path) -> None:
    before = (served / "file").read_bytes()
    with client.data() as sock:
        assert client.say("STOR file").startswith("150")
        sock.sendall(b"new")
        assert client.say("STAT").startswith("211")
        assert (served / "file").read_bytes() == before
    assert client.answer().startswith("226")
    assert (served / "file").read_bytes() == b"new"


def test_stor_goes_on_where_rest_says(client: Client, served: Path) -> None:
    before = (served / "file").read_bytes()
    client.say("REST 100")
    assert client.store("STOR file", b"new").startswith("226")
    assert (served / "file").read_bytes() == before[:100] + b"new"


def test_appe_writes_at_the_end(client: Client, served: Path) -> None:
    assert client.store("APPE folder/inner", b" and more").startswith("226")
    assert (served / "folder" / "inner").read_bytes() == b"inside and more"


def test_stou_makes_a_name_and_says_it(client: Client, served: Path) -> None:
    before = names(served)
    with client.data() as sock:
        begins = client.say("STOU")
        sock.sendall(b"data")
    answer = client.answer()
    assert answer.startswith("226")
    (made,) = names(served) - before
    assert answer.endswith(made)
    assert begins == f"150 FILE: {made}"  # RFC 1123 section 4.1.2.9
    assert (served / made).read_bytes() == b"data"


def test_stou_leaves_the_file_of_that_name(client: Client, served: Path) -> None:
    before = (served / "file").read_bytes()
    assert client.store("STOU file", b"data").startswith("226")
    assert (served / "file").read_bytes() == before


def test_stor_ends_lines_in_lf_for_type_a(client: Client, served: Path) -> None:
    client.say("TYPE A")
    with client.data() as sock:
        client.say("STOR new")
        for part in (b"one\r", b"\ntwo\r\n", b"thr\ree\r"):
            sock.sendall(part)
            client.say("NOOP")  # it has read that part, or reads it with the next
    assert client.answer().startswith("226")
    assert (served / "new").read_bytes() == b"one\ntwo\nthr\ree\r"


def test_an_upload_that_is_reset_leaves_the_file(
    client: Client, served: Path, server: Server
) -> None:
    before, names_before = (served / "file").read_bytes(), names(served)
    sock = client.data()
    assert client.say("STOR file").startswith("150")
    sock.sendall(b"half")
    reset(sock)
    assert client.answer().startswith("426")
    assert (served / "file").read_bytes() == before
    assert names(served) == names_before
    assert "complete=false" in server.log()


def test_an_upload_whose_control_connection_goes_leaves_the_file(
    client: Client, served: Path, server: Server
) -> None:
    names_before = names(served)
    with client.data() as sock:
        assert client.say("STOR new").startswith("150")
        sock.sendall(b"half")
        client.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    wait_until(server.idle)
    assert names(served) == names_before


def test_an_upload_that_stalls_is_ended(start: Callable[..., Server], served: Path) -> None:
    names_before = names(served)
    server = start(anonymous="rw", stall_timeout_s=0.3)
    with Client(server.port) as client:
        with client.log_in().data() as sock:
            assert client.say("STOR new").startswith("150")
            sock.sendall(b"half")
            assert client.answer().startswith("426")
    assert names(served) == names_before


def test_an_upload_that_is_too_large_is_refused(start: Callable[..., Server], served: Path) -> None:
    names_before = names(served)
    server = start(anonymous="rw", upload_bytes_max=1000)
    with Client(server.port) as client:
        client.log_in()
        assert client.store("STOR new", b"x" * 1000).startswith("226")
        with client.data() as sock:
            assert client.say("STOR other").startswith("150")
            sock.sendall(b"x" * 1001)
            assert client.answer().startswith("552")
    assert names(served) == names_before | {"new"}


def test_an_upload_beyond_the_quota_is_refused(
    start: Callable[..., Server], users_file: Path, served: Path
) -> None:
    server = start(users=str(users_file))
    with Client(server.port) as client:
        client.log_in("small", "secret")
        assert client.store("STOR a", b"x" * 90).startswith("226")  # 6 are there
        with client.data() as sock:
            assert client.say("STOR b").startswith("150")
            sock.sendall(b"x" * 5)
            assert client.answer().startswith("552")
        assert client.store("STOR b", b"x" * 4).startswith("226")
        assert client.store("STOR c", b"x").startswith("552")
    assert names(served / "folder") == {"inner", "a", "b"}


def test_a_full_disk_is_told_and_leaves_the_file(client: Client, served: Path) -> None:
    before, names_before = (served / "file").read_bytes(), names(served)
    # A file may grow so far in this process: EFBIG is what a full disk is, but for the number.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
    try:
        with client.data() as sock:
            assert client.say("STOR file").startswith("150")
            sock.settimeout(5)
            with pytest.raises((ConnectionError, TimeoutError)):
                sock.sendall(b"x" * 10_000_000)
        assert client.answer().startswith("552")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (served / "file").read_bytes() == before
    assert names(served) == names_before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_disk_without_room_is_452(start: Callable[..., Server], tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "served" / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)])
    if mounted.returncode:
        pytest.skip("mount is not allowed here")
    try:
        (disk / "good").write_bytes(b"good")
        with Client(start(anonymous="rw").port) as client:
            with client.log_in().data() as sock:
                assert client.say("STOR disk/good").startswith("150")
                sock.sendall(b"x" * 100_000)
                assert client.answer().startswith("452")
        assert names(disk) == {"good"}
        assert (disk / "good").read_bytes() == b"good"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_anonymous_may_not_write_by_default(start: Callable[..., Server]) -> None:
    with Client(start().port) as client:
        client.log_in().data().close()
        assert client.say("STOR new").startswith("550")
        assert client.say("DELE file").startswith("550")
        assert client.say("MKD new").startswith("550")


def test_who_may_only_create_cannot_replace(start: Callable[..., Server], tmp_path: Path) -> None:
    from headrace.serve.passwords import Cost, hash_password

    users = tmp_path / "users"
    users.write_text(f"drop:{hash_password('secret', Cost(2**14, 8, 1))}:/:lrc\n")
    with Client(start(users=str(users)).port) as client:
        client.log_in("drop", "secret").data().close()
        assert client.say("STOR file").startswith("550")
        assert client.store("STOR new", b"data").startswith("226")


def test_an_upload_by_port(client: Client, served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client.say(f"PORT 127,0,0,1,{port >> 8},{port & 255}")
        client.send("STOR new")
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"data")
    assert client.answer().startswith("150")
    assert client.answer().startswith("226")
    assert (served / "new").read_bytes() == b"data"


def test_large_file_is_gone_on_with_by_a_thread(client: Client, served: Path) -> None:
    assert client.store("STOR big", BIG).startswith("226")
    assert client.store("APPE big", b" and more").startswith("226")
    assert (served / "big").read_bytes() == BIG + b" and more"
    half = len(BIG) // 2
    client.say(f"REST {half}")
    assert client.store("STOR big", BIG[half:]).startswith("226")
    assert (served / "big").read_bytes() == BIG


def test_client_who_leaves_while_a_thread_copies_leaves_nothing_behind(
    server: Server, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served / "big").write_bytes(BIG)
    copying, left = threading.Event(), threading.Event()
    real = os.copy_file_range

    def slowly(*arguments: int) -> int:
        copying.set()
        assert left.wait(WAIT_S_MAX)
        return real(*arguments)

    monkeypatch.setattr(os, "copy_file_range", slowly)
    with Client(server.port) as client:
        client.log_in()
        with client.data():
            client.send("APPE big")
            assert copying.wait(WAIT_S_MAX)
    wait_until(server.idle)
    left.set()
    wait_until(lambda: names(served) == {"big", "file", "folder", "lines"})
    assert (served / "big").read_bytes() == BIG


def test_upload_that_waits_for_the_disk_is_committed_by_a_thread(
    start: Callable[..., Server], served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    real = os.fsync

    def noted(fd: int) -> None:
        threads.append(threading.current_thread())
        real(fd)

    monkeypatch.setattr(os, "fsync", noted)
    server = start(anonymous="rw", sync_uploads=True)
    with Client(server.port) as client:
        client.log_in()
        assert client.store("STOR new", BIG).startswith("226")
        assert (served / "new").read_bytes() == BIG
    assert len(threads) == 2  # the file's and the folder's
    assert all(thread.name.startswith("headrace-serve") for thread in threads)


def test_disk_that_fails_at_the_end_is_told_and_changes_nothing(
    start: Callable[..., Server], served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = (served / "file").read_bytes()
    monkeypatch.setattr(os, "fsync", failing)
    server = start(anonymous="rw", sync_uploads=True)
    with Client(server.port) as client:
        client.log_in()
        assert client.store("STOR file", BIG).startswith("451")
    assert (served / "file").read_bytes() == before
    assert names(served) == {"file", "folder", "lines"}


def test_user_who_may_not_replace_does_not_replace_what_came_meanwhile(
    start: Callable[..., Server], served: Path, tmp_path: Path
) -> None:
    word = hash_password("secret", Cost(n=16, r=1, p=1))
    (tmp_path / "users").write_text(f"dropper:{word}:/:c\n")
    server = start(users=str(tmp_path / "users"))
    with Client(server.port) as client:
        client.log_in("dropper", "secret")
        with client.data() as sock:
            assert client.say("STOR new").startswith("150")
            (served / "new").write_bytes(b"meanwhile")
            sock.sendall(b"mine")
        assert client.answer().startswith(("4", "5"))
    assert (served / "new").read_bytes() == b"meanwhile"


@pytest.mark.parametrize("first", ["data", "control"])
def test_a_client_who_is_killed_replaces_nothing(
    client: Client, server: Server, served: Path, first: str
) -> None:
    """The kernel closes both of its connections at once, in any order."""
    before, names_before = (served / "file").read_bytes(), names(served)
    sock = client.data()
    assert client.say("STOR file").startswith("150")
    sock.sendall(b"half")
    client.say("STAT")
    closed = threading.Event()
    server.loop.call_soon_threadsafe(closed.wait, WAIT_S_MAX)  # both come to the loop at once
    for each in (sock, client.sock) if first == "data" else (client.sock, sock):
        each.close()
    closed.set()
    wait_until(server.idle)
    assert (served / "file").read_bytes() == before
    assert names(served) == names_before
    assert "complete=false" in server.log()


def test_a_client_who_is_killed_behind_unread_commands_replaces_nothing(
    client: Client, server: Server, served: Path
) -> None:
    """Reading is paused: the loop does not see the control connection's end."""
    before = (served / "file").read_bytes()
    sock = client.data()
    assert client.say("STOR file").startswith("150")
    sock.sendall(b"half")
    (session,) = server.call(lambda: list(server.worker.sessions))
    client.send(*["CWD folder"] * 1000)
    wait_until(lambda: not session.reading)
    client.close()
    sock.close()
    wait_until(lambda: "complete=false" in server.log())
    assert (served / "file").read_bytes() == before


def test_abor_waits_for_an_upload_that_is_on_its_way_to_the_disk(
    start: Callable[..., Server], served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing, go_on = slow_disk(monkeypatch)
    server = start(anonymous="rw", sync_uploads=True, stall_timeout_s=0.1)
    with Client(server.port) as client:
        with client.log_in().data() as sock:
            assert client.say("STOR file").startswith("150")
            sock.sendall(b"new")
        assert syncing.wait(WAIT_S_MAX)
        (transfer,) = server.call(lambda: list(server.worker.transfers))
        client.send("ABOR")
        wait_until(lambda: transfer.waiting_command() is not None)
        server.call(lambda: transfer.sweep(time.monotonic() + 1000))
        go_on.set()
        assert client.answer().startswith("226")
        assert client.answer().startswith("226")
        assert client.say("NOOP").startswith("200")
    assert (served / "file").read_bytes() == b"new"
    assert server.log().count("complete=") == server.log().count("complete=true") == 1


def test_a_client_who_goes_while_the_upload_is_on_its_way_to_the_disk_is_logged_as_complete(
    start: Callable[..., Server], served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncing, go_on = slow_disk(monkeypatch)
    server = start(anonymous="rw", sync_uploads=True)
    with Client(server.port) as client:
        with client.log_in().data() as sock:
            assert client.say("STOR file").startswith("150")
            sock.sendall(b"new")
        assert syncing.wait(WAIT_S_MAX)
    wait_until(lambda: not server.worker.sessions)
    assert "complete=" not in server.log()
    go_on.set()
    wait_until(server.idle)
    assert "complete=true" in server.log()
    assert (served / "file").read_bytes() == b"new"


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """fsync() has begun; it may end."""
    syncing, go_on = threading.Event(), threading.Event()

    def slowly(fd: int) -> None:
        syncing.set()
        assert go_on.wait(WAIT_S_MAX)

    monkeypatch.setattr(os, "fsync", slowly)
    return syncing, go_on


def test_a_file_does_not_grow_beyond_the_limit_piece_by_piece(
    start: Callable[..., Server], served: Path
) -> None:
    server = start(anonymous="rw", upload_bytes_max=1000)
    with Client(server.port) as client:
        client.log_in()
        assert client.store("APPE new", b"x" * 600).startswith("226")
        assert client.store("APPE new", b"x" * 600).startswith("552")
        assert (served / "new").read_bytes() == b"x" * 600
        assert client.store("APPE new", b"x" * 400).startswith("226")
        assert client.say("REST 600").startswith("350")
        assert client.store("STOR new", b"y" * 401).startswith("552")
        assert (served / "new").read_bytes() == b"x" * 1000
        assert client.store("APPE file", b"").startswith("552")  # is larger already


def test_an_upload_of_limited_rate_that_stalls_is_ended(
    start: Callable[..., Server], served: Path
) -> None:
    """Between two parts it is we who wait; when nothing comes any more, it is not."""
    server = start(anonymous="rw", rate_bytes_per_s_max=200_000, stall_timeout_s=0.5)
    with Client(server.port) as client:
        with client.log_in().data() as sock:
            assert client.say("STOR new").startswith("150")
            sock.sendall(bytes(100_000))
            assert client.answer().startswith("426")
    assert "transfer_stalled" in server.log()
    assert not (served / "new").exists()
