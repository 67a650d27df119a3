"""Logging in, listings, names, hashes: the commands, each by a client."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import Client, Server, wait_until


def test_a_user_is_in_the_home_and_cannot_leave_it(
    start: Callable[..., Server], users_file: Path
) -> None:
    with Client(start(users=str(users_file)).port) as client:
        client.log_in("alice", "secret")
        assert client.retrieve("RETR inner") == b"inside"
        client.say("CDUP")
        assert '"/"' in client.say("PWD")
        assert client.retrieve("NLST") == b"inner\r\n"


def test_a_wrong_password_is_answered_late(start: Callable[..., Server], users_file: Path) -> None:
    server = start(users=str(users_file), login_delay_s_max=0.1)
    with Client(server.port) as client:
        client.answer()
        for name in ("alice", "nobody"):
            client.say(f"USER {name}")
            assert client.say("PASS wrong").startswith("530")
        client.say("USER alice")
        assert client.say("PASS wrong").startswith("421")
        with pytest.raises(EOFError):
            client.answer()
    assert server.log().count("login_failed") == 3


def test_too_many_failures_lock_an_address_out(
    start: Callable[..., Server], users_file: Path
) -> None:
    server = start(users=str(users_file), login_delay_s_max=0.0, login_failures_max=2)
    with Client(server.port) as client:
        client.answer()
        for _ in range(2):
            client.say("USER alice")
            client.say("PASS wrong")
        client.say("USER alice")
        assert client.say("PASS secret").startswith("421")
    with Client(server.port) as client:
        client.answer()
        client.say("USER alice")
        assert client.say("PASS secret").startswith("421")
    with Client(server.port) as client:
        client.log_in()  # it has no password that could be guessed


def test_a_home_that_is_not_there_is_530(start: Callable[..., Server], users_file: Path) -> None:
    with Client(start(users=str(users_file)).port) as client:
        client.answer()
        client.say("USER lost")
        assert client.say("PASS secret").startswith("530")
        assert client.say("PWD").startswith("530")


def test_nobody_else_waits_while_a_password_is_verified(
    start: Callable[..., Server], users_file: Path
) -> None:
    server = start(users=str(users_file), threads_max=1, jobs_queued_max=1)
    clients = [Client(server.port) for _ in range(6)]
    try:
        for client in clients:
            client.answer()
            client.say("USER alice")
        for client in clients:
            client.send("PASS secret")
        answers = [client.answer()[:3] for client in clients]
        # One is verified, one waits; who came too early for that is told to come back.
        assert set(answers) <= {"230", "421"}
        assert "230" in answers
    finally:
        for client in clients:
            client.close()


def test_rein_begins_anew(client: Client) -> None:
    assert client.say("REIN").startswith("220")
    assert client.say("PWD").startswith("530")
    assert client.say("USER anonymous").startswith("331")
    assert client.say("PASS x").startswith("230")


def test_quit_says_goodbye(client: Client) -> None:
    assert client.say("QUIT").startswith("221")
    with pytest.raises(EOFError):
        client.answer()


def test_commands_that_come_at_once_are_answered_in_order(server: Server) -> None:
    with Client(server.port) as client:
        client.send("USER anonymous", "PASS x", "PWD", "SYST", "NOPE", "CWD folder", "PWD", "QUIT")
        codes = [client.answer()[:3] for _ in range(9)]
    assert codes == ["220", "331", "230", "257", "215", "500", "250", "257", "221"]


def test_very_many_commands_at_once_are_all_answered(client: Client) -> None:
    client.send(*["PWD"] * 1000)
    assert all(client.answer().startswith("257") for _ in range(1000))


def test_commands_behind_a_transfer_wait_for_it(client: Client, served: Path) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    with client.data(SO_RCVBUF=8192) as sock:
        client.send("RETR big", "CWD folder", "PWD", "QUIT")
        assert client.answer().startswith("150")
        total = 0
        while data := sock.recv(65536):
            total += len(data)
        assert total == 10_000_000
    assert [client.answer()[:3] for _ in range(4)] == ["226", "250", "257", "221"]


def test_a_listing_names_files_and_folders(client: Client) -> None:
    lines = client.retrieve("LIST").decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["file", "folder", "lines"]
    assert lines[0].startswith("-rw")
    assert lines[1].startswith("drw")
    assert client.retrieve("LIST -la") == "\r\n".join([*lines, ""]).encode()


def test_nlst_takes_folders_and_patterns(client: Client) -> None:
    assert client.retrieve("NLST") == b"file\r\nfolder\r\nlines\r\n"
    assert client.retrieve("NLST folder") == b"folder/inner\r\n"
    assert client.retrieve("NLST f*") == b"file\r\nfolder\r\n"
    assert client.retrieve("NLST folder/i*r") == b"folder/inner\r\n"
    assert client.retrieve("NLST nothing*") == b""


def test_list_takes_a_file(client: Client) -> None:
    assert client.retrieve("LIST file").decode().split()[-1] == "file"
    client.data().close()
    assert client.say("LIST nothing").startswith("550")


def test_mlsd_and_mlst_give_facts(client: Client) -> None:
    lines = client.retrieve("MLSD").decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["file", "folder", "lines"]
    assert "type=file;size=102400;" in lines[0]
    assert "type=dir;" in client.say("MLST folder")
    client.data().close()
    assert client.say("MLSD file").startswith("501")


def test_a_large_folder_is_read_by_a_thread(client: Client, served: Path) -> None:
    many = served / "many"
    many.mkdir()
    for number in range(2000):
        (many / f"a-rather-long-name-{number:05}").touch()
    names = client.retrieve("NLST many", SO_RCVBUF=4096).decode().splitlines()
    assert names == [f"many/a-rather-long-name-{number:05}" for number in range(2000)]


def test_a_folder_with_too_many_names_is_not_listed(
    start: Callable[..., Server], served: Path
) -> None:
    with Client(start(listing_entries_max=2).port) as client:
        client.log_in().data().close()
        assert client.say("LIST")[0] in "45"
        assert client.say("NOOP").startswith("200")


def test_stat_lists_and_tells_of_the_session(client: Client) -> None:
    assert "inner" in client.say("STAT folder")
    assert "No transfer" in client.say("STAT")


def test_stat_tells_how_far_a_transfer_is(client: Client, served: Path) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    with client.data(SO_RCVBUF=8192) as sock:
        assert client.say("RETR big").startswith("150")
        assert "RETR /big" in client.say("STAT")
        while sock.recv(65536):
            pass
    assert client.answer().startswith("226")


def test_names_are_changed(client: Client, served: Path) -> None:
    assert client.say("MKD new").startswith("257")
    assert client.say("RNFR file").startswith("350")
    assert client.say("RNTO new/name").startswith("250")
    assert client.say("DELE new/name").startswith("250")
    assert client.say("RMD new").startswith("250")
    assert client.say("RMD folder").startswith("550")
    assert set(os.listdir(served)) == {"folder", "lines"}


def test_sizes_and_times(client: Client, served: Path) -> None:
    assert client.say("SIZE file") == "213 102400"
    assert client.say("MFMT 20010203040506 file").startswith("213")
    assert client.say("MDTM file") == "213 20010203040506"
    client.say("TYPE A")
    assert client.say("SIZE file").startswith("550")
    assert client.say("SIZE folder").startswith("550")


def test_modes_are_changed(client: Client, served: Path) -> None:
    assert client.say("SITE CHMOD 640 file").startswith("200")
    assert (served / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["SHA-256", "SHA-512", "SHA-1", "MD5", "CRC32"])
def test_hash_is_that_of_the_file(client: Client, served: Path, name: str) -> None:
    data = (served / "file").read_bytes()
    client.say(f"OPTS HASH {name}")
    answer = client.say("HASH file")
    known = {"CRC32": f"{zlib.crc32(data):08x}"}
    wanted = known.get(name) or hashlib.new(name.replace("-", ""), data).hexdigest()
    assert answer.startswith("213")
    assert wanted in answer


def test_hash_is_ended_by_abor(client: Client, served: Path) -> None:
    with (served / "huge").open("wb") as file:
        file.truncate(3 * 2**30)
    client.send("HASH huge", "ABOR")
    assert client.answer().startswith("450")
    assert client.answer().startswith("226")
    assert client.say("NOOP").startswith("200")


def test_hash_of_too_large_a_file_is_refused(start: Callable[..., Server]) -> None:
    with Client(start(hash_bytes_max=1000).port) as client:
        assert client.log_in().say("HASH file").startswith("552")


def test_a_client_too_many_is_told_so(start: Callable[..., Server]) -> None:
    server = start(clients_per_address_max=1)
    with Client(server.port) as client:
        client.log_in()
        with Client(server.port) as other:
            assert other.answer().startswith("421")
    wait_until(server.idle)
    with Client(server.port) as client:
        client.log_in()


def test_reload_counts_for_those_who_come_then(
    start: Callable[..., Server], users_file: Path, tmp_path: Path
) -> None:
    server = start(users=str(users_file))
    text = users_file.read_text()
    users_file.write_text("")
    server.call(server.worker.reload)
    with Client(server.port) as client:
        client.answer()
        client.say("USER alice")
        assert client.say("PASS secret").startswith("530")
        users_file.write_text(text)
        server.call(server.worker.reload)
        client.say("USER alice")
        assert client.say("PASS secret").startswith("230")


def test_who_was_logged_in_has_the_time_of_a_login_again(client: Client, server: Server) -> None:
    (session,) = server.call(lambda: list(server.worker.sessions))

    def grow_old() -> None:
        session.began_s -= 1_000_000
        session.sweep(time.monotonic())

    server.call(grow_old)
    for command, code in (("REIN", "220"), ("USER anonymous", "331")):
        assert client.say(command).startswith(code)
        server.call(lambda: session.sweep(time.monotonic()))
        assert client.say("USER anonymous").startswith("331")
        assert client.say("PASS x").startswith("230")
        server.call(grow_old)
    assert client.say("REIN").startswith("220")
    server.call(lambda: setattr(session, "began_s", session.began_s - 1_000_000))
    assert client.say("USER anonymous").startswith("331")  # and nobody else
    server.call(lambda: session.sweep(time.monotonic()))
    assert client.answer().startswith("421")


@pytest.mark.parametrize("command", ["USER anonymous", "REIN"])
def test_what_was_agreed_on_ends_with_the_login(client: Client, command: str) -> None:
    port = client.passive()
    client.say(command)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
