"""What clients do to servers, and must not: resets in every state, stalls, floods, bounces."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftp_server import WAIT_S_MAX, Client, Server, read_all, reset, wait_until

from headrace.serve.ftp.actions import ACTIONS
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.session import LINGERING_MAX, TURN_S_MAX, Session
from headrace.serve.meters import Meter
from headrace.serve.tree import Entry, Tree

STATES = {
    "at once": [],
    "after a part of a command": ["!USER ano"],
    "named": ["USER anonymous"],
    "logged in": ["USER anonymous", "PASS x"],
    "listening": ["USER anonymous", "PASS x", "EPSV"],
    "waiting": ["USER anonymous", "PASS x", "EPSV", "!RETR file\r\n"],
    "renaming": ["USER anonymous", "PASS x", "RNFR file"],
    "listing": ["USER anonymous", "PASS x", "EPSV", "!LIST\r\n"],
    "storing": ["USER anonymous", "PASS x", "EPSV", "!STOR new\r\n"],
    "hashing": ["USER anonymous", "PASS x", "!HASH file\r\n"],
    "verifying": ["USER alice", "!PASS secret\r\n"],
    "upgrading": ["AUTH TLS"],
    "in the handshake": ["AUTH TLS", "!\x16\x03\x01"],
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["RST", "FIN"])
def test_a_client_that_goes_leaves_nothing(
    start: Callable[..., Server],
    users_file: Path,
    certificate: Path,
    state: str,
    end: Callable[[socket.socket], None],
) -> None:
    server = start(anonymous="rw", users=str(users_file), tls_cert=str(certificate))
    client = Client(server.port)
    client.answer()
    for command in STATES[state]:
        if command.startswith("!"):
            client.sock.sendall(command[1:].encode("latin-1"))
        else:
            client.say(command)
    end(client.sock)
    wait_until(server.idle, "the end of the session")


@pytest.mark.parametrize("command", ["RETR big", "STOR new", "LIST many", "MLSD many"])
@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["RST", "FIN"])
def test_a_client_that_goes_in_a_transfer_leaves_nothing(
    server: Server, served: Path, command: str, end: Callable[[socket.socket], None]
) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    (served / "many").mkdir()
    for number in range(3000):
        (served / "many" / f"{'a-rather-long-name-' * 8}{number}").touch()
    client = Client(server.port).log_in()
    with client.data(SO_RCVBUF=4096) as sock:
        assert client.say(command).startswith("150")
        if command == "STOR new":
            sock.sendall(b"part")
        end(client.sock)
        wait_until(server.idle, "the end of the session")
    assert not (served / "new").exists()


def test_half_open_logins_are_ended(start: Callable[..., Server]) -> None:
    server = start(login_timeout_s=0.3)
    clients = [Client(server.port) for _ in range(50)]
    try:
        for client in clients:
            client.answer()
        clients[0].say("USER anonymous")
        for client in clients:
            assert client.answer().startswith("421")
    finally:
        for client in clients:
            client.close()


def test_idle_sessions_are_ended(start: Callable[..., Server]) -> None:
    with Client(start(idle_timeout_s=0.3).port) as client:
        assert client.log_in().answer().startswith("421")


def test_a_session_with_a_transfer_is_not_idle(start: Callable[..., Server], served: Path) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    server = start(idle_timeout_s=0.2)
    with Client(server.port) as client:
        with client.log_in().data(SO_RCVBUF=8192) as sock:
            assert client.say("RETR big").startswith("150")
            began = server.call(server.loop.time)
            total = 0
            while total < 10_000_000:
                total += len(sock.recv(65536))
                if total < 1_000_000:
                    wait_until(lambda: server.call(server.loop.time) - began > 0.5)
        assert client.answer().startswith("226")


def test_replies_that_are_not_read_end_the_session(start: Callable[..., Server]) -> None:
    server = start(stall_timeout_s=0.3)
    client = Client(server.port)
    client.log_in()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.sock.settimeout(0.2)
    flood = b"HELP\r\n" * 1000
    with pytest.raises((TimeoutError, ConnectionError)):
        send_for_ever(client.sock, flood)
    wait_until(server.idle)
    client.close()


def send_for_ever(sock: socket.socket, data: bytes) -> None:
    for _ in range(10_000):
        sock.sendall(data)


@pytest.mark.parametrize("allowed", [8192, 300_000])
def test_a_line_that_is_too_long_is_no_flood(start: Callable[..., Server], allowed: int) -> None:
    server = start(line_bytes_max=allowed)
    with Client(server.port) as client:
        client.log_in()
        assert client.say("SIZE " + "x" * allowed).startswith("500")
        assert client.say("NOOP").startswith("200")


def test_a_flood_during_a_transfer_is_not_kept(client: Client, served: Path) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    with client.data(SO_RCVBUF=8192) as sock:
        assert client.say("RETR big").startswith("150")
        client.sock.settimeout(0.5)
        with pytest.raises((TimeoutError, ConnectionError)):
            send_for_ever(client.sock, b"PWD\r\n" * 1000)
        client.sock.settimeout(20)
        sock.settimeout(20)
        reset(sock)


@pytest.mark.parametrize(
    "command",
    [
        "PORT 127,0,0,2,8,0",
        "EPRT |1|127.0.0.2|2048|",
        "PORT 127,0,0,1,0,25",
        "EPRT |1|127.0.0.1|1023|",
    ],
)
def test_no_other_place_is_connected_to(client: Client, command: str) -> None:
    assert client.say(command)[:2] == "50"
    assert client.say("RETR file").startswith("425")


def test_a_data_connection_of_somebody_else_is_turned_away(client: Client, served: Path) -> None:
    port = client.passive()
    # All of 127.0.0.0/8 is this machine.
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as stranger:
        client.send("RETR file")
        assert client.answer().startswith("150")
        with pytest.raises(ConnectionResetError):
            stranger.recv(1)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        assert read_all(sock) == (served / "file").read_bytes()
    assert client.answer().startswith("226")


def test_abor_ends_a_download(client: Client, served: Path) -> None:
    (served / "big").write_bytes(b"x" * 10_000_000)
    with client.data(SO_RCVBUF=8192) as sock:
        assert client.say("RETR big").startswith("150")
        # As Telnet's Synch wants it: IP, and DM as urgent data (RFC 959 section 4.1.3).
        client.sock.sendall(b"\xff\xf4")
        client.sock.send(b"\xff\xf2", socket.MSG_OOB)
        client.sock.sendall(b"ABOR\r\n")
        assert client.answer().startswith("426")
        assert client.answer().startswith("226")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert client.say("NOOP").startswith("200")


def test_abor_ends_what_was_answered_and_not_taken(client: Client, server: Server) -> None:
    with client.data(SO_RCVBUF=4096) as sock:
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("226")
        assert client.say("ABOR").startswith("226")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert "complete=false" in server.log()


def test_who_takes_nothing_keeps_few_connections(
    client: Client, server: Server, served: Path
) -> None:
    socks = []
    for _ in range(LINGERING_MAX + 3):
        sock = client.data(SO_RCVBUF=4096)
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("226")
        socks.append(sock)
    # The latest is the session's, and so many are the worker's.
    assert server.call(lambda: len(server.worker.lingering)) == LINGERING_MAX
    ends = [how_it_ends(sock) for sock in socks]
    assert ends.count("reset") == 2
    assert ends.count((served / "file").read_bytes()) == LINGERING_MAX + 1
    assert client.say("NOOP").startswith("200")
    wait_until(lambda: server.log().count("complete=true") == LINGERING_MAX + 1)


def how_it_ends(sock: socket.socket) -> bytes | str:
    with sock:
        try:
            return read_all(sock)
        except ConnectionResetError:
            return "reset"


def test_a_mistake_of_ours_is_answered_and_counted(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(ACTIONS, "DELE", fail)
    assert client.say("DELE file").startswith("451")
    monkeypatch.setattr("headrace.serve.ftp.sending.FileSending.step", fail)
    with client.data() as sock:
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("451")
        assert how_it_ends(sock) == "reset"
    assert client.say("NOOP").startswith("200")
    assert [type(each["exception"]) for each in server.complaints] == [ZeroDivisionError] * 2
    assert server.site.meters.get(Meter.ERRORS) == 2
    server.complaints.clear()


@pytest.mark.parametrize(
    "where", ["ftp.receiving.Receiving.write", "ftp.ascii.FromLines.end", "upload.Upload._rename"]
)
def test_a_mistake_of_ours_during_an_upload_replaces_nothing(
    client: Client, server: Server, served: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = (served / "file").read_bytes()
    failed: list[object] = []

    def fail_once(*arguments: object) -> None:
        monkeypatch.undo()
        failed.append(arguments)
        raise ZeroDivisionError

    if "FromLines" in where:
        client.say("TYPE A")
    monkeypatch.setattr(f"headrace.serve.{where}", fail_once)
    with client.data() as sock:
        assert client.say("STOR file").startswith("150")
        sock.sendall(b"the first piece")
        wait_until(lambda: failed or not where.endswith("write"))
        with contextlib.suppress(OSError):  # it is reset, perhaps already
            sock.sendall(b"the second")
            sock.shutdown(socket.SHUT_WR)
        assert client.answer().startswith("451")
    assert (served / "file").read_bytes() == before
    assert client.say("NOOP").startswith("200")
    server.complaints.clear()


def test_abor_ends_an_upload(client: Client, served: Path) -> None:
    with client.data() as sock:
        assert client.say("STOR new").startswith("150")
        sock.sendall(b"part")
        client.send("ABOR")
        assert client.answer().startswith("426")
        assert client.answer().startswith("226")
    assert not (served / "new").exists()


def test_abor_ends_the_wait_for_a_connection(client: Client) -> None:
    client.passive()
    assert client.say("RETR file").startswith("150")
    client.send("ABOR")
    assert client.answer().startswith("426")
    assert client.answer().startswith("226")
    assert client.say("ABOR").startswith("225")


def test_a_new_pasv_closes_the_port_before(client: Client) -> None:
    first = client.passive()
    client.passive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", first))


def test_passive_ports_are_those_configured(start: Callable[..., Server]) -> None:
    from headrace.serve.settings import PortRange

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(passive_ports=PortRange(port, port))
        with Client(server.port) as client:
            client.log_in()
            assert client.say("EPSV").startswith("425")
            taken.close()
            assert client.passive() == port


def test_pasv_names_the_address_that_is_configured(start: Callable[..., Server]) -> None:
    with Client(start(passive_address="192.0.2.7").port) as client:
        assert "(192,0,2,7," in client.log_in().say("PASV")


def test_descriptors_that_run_out_are_told_and_do_not_spin(
    start: Callable[..., Server], served: Path
) -> None:
    server = start()
    with Client(server.port) as client:
        client.log_in()
        sock = client.data()
        late = socket.socket()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with (served / "file").open("rb") as probe:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), limit[1]))
            try:
                assert client.say("RETR file").startswith("450")
                late.connect(("127.0.0.1", server.port))
                turns = server.call(server.loop.statistics)["loop_iterations"]
                assert client.say("NOOP").startswith("200")
                assert server.call(server.loop.statistics)["loop_iterations"] - turns < 100
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        sock.close()
        assert client.retrieve("RETR file") == (served / "file").read_bytes()
        with late:
            late.settimeout(20)
            assert late.recv(100).startswith(b"220")


def test_connections_that_are_not_taken_keep_the_place_of_a_client_who_has_quit(
    start: Callable[..., Server],
) -> None:
    server = start(clients_per_address_max=1)
    with Client(server.port) as client:
        sock = leave_untaken(client.log_in())
    with sock:
        wait_until(lambda: server.call(lambda: not server.worker.sessions))
        with Client(server.port) as refused:
            assert refused.answer().startswith("421")
        assert how_it_ends(sock) != "reset"
    wait_until(server.idle)
    assert server.site.gate.clients == server.site.meters.get(Meter.FTP_SESSIONS) == 0
    with Client(server.port) as client:
        client.log_in()


def leave_untaken(client: Client) -> socket.socket:
    """RETR and QUIT, and the data connection, on which everything still lies."""
    sock = client.data(SO_RCVBUF=4096)
    assert client.say("RETR file").startswith("150")
    assert client.answer().startswith("226")
    assert client.say("QUIT").startswith("221")
    return sock


def test_the_oldest_connection_that_is_not_taken_is_reset_where_there_are_too_many(
    start: Callable[..., Server], served: Path
) -> None:
    server = start(lingering_max=2)
    socks = []
    for number in range(3):
        with Client(server.port) as client:
            socks.append(leave_untaken(client.log_in()))
        wait_until(lambda: server.call(lambda: not server.worker.sessions))
        assert server.call(lambda: len(server.worker.lingering)) == min(number + 1, 2)
    ends = [how_it_ends(sock) for sock in socks]
    assert ends == ["reset", *[(served / "file").read_bytes()] * 2]


def test_a_reset_ends_a_connection_that_is_not_taken_and_nothing_waits_for_it(
    client: Client, server: Server
) -> None:
    sock = leave_untaken(client)
    wait_until(lambda: server.call(lambda: len(server.worker.lingering)) == 1)
    (lingering,) = server.call(lambda: list(server.worker.lingering))
    # Nobody is told of the reset: as where the client has closed for writing before.
    server.call(lingering.unwatch)
    reset(sock)
    wait_until(lambda: server.call(lambda: lingering.sock.fileno() < 0 or lingering.drained()))
    assert server.idle()
    assert "complete=false" in server.log()
    draining = asyncio.run_coroutine_threadsafe(server.worker.wait_drained(), server.loop)
    draining.result(WAIT_S_MAX)


def test_sessions_with_slow_commands_have_one_turn_between_two_looks_at_the_sockets(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are, somebody else is answered after a turn or two."""
    server = start()
    slow: list[int] = []
    goes_on = threading.Event()

    def slowly(session: Session, command: Command) -> None:
        slow.append(server.loop.statistics()["loop_iterations"])
        until_s = time.monotonic() + TURN_S_MAX
        while time.monotonic() < until_s:
            pass
        session.answer(command, 213, "Slow.")

    monkeypatch.setitem(ACTIONS, "STAT", slowly)
    clients = [Client(server.port).log_in() for _ in range(5)]
    server.loop.call_soon_threadsafe(goes_on.wait, WAIT_S_MAX)  # all come to the loop at once
    for client in clients:
        client.send(*["STAT ."] * 20)
    goes_on.set()
    for client in clients:
        assert [client.answer()[:3] for _ in range(20)] == ["213"] * 20
        client.close()
    # Each has one when its commands come; the others of theirs are one by one.
    assert max(slow.count(iteration) for iteration in slow) <= len(clients) + 1
    assert len(set(slow)) >= 5 * 19


@pytest.mark.parametrize("command", ["LIST", "NLST", "MLSD", "APPE file"])
def test_abor_ends_a_transfer_whose_beginning_is_with_a_thread(
    client: Client, server: Server, served: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    name = "upload" if command.startswith("APPE") else "scan"
    real = getattr(Tree, name)

    def slowly(*arguments: Any, **options: Any) -> object:
        begun.set()
        assert go_on.wait(WAIT_S_MAX)
        return real(*arguments, **options)

    monkeypatch.setattr(Tree, name, slowly)
    monkeypatch.setattr("headrace.serve.ftp.listings.LARGE_FOLDER_BYTES", 0)
    monkeypatch.setattr("headrace.serve.ftp.transfers.COPY_BYTES_INLINE_MAX", 0)
    before, names_before = (served / "file").read_bytes(), sorted(os.listdir(served))
    with client.data() as sock:
        client.send(command)
        assert begun.wait(WAIT_S_MAX)
        client.send("ABOR")
        assert client.answer().startswith("426")
        assert client.answer().startswith("226")
        assert how_it_ends(sock) == "reset"
    go_on.set()
    assert client.say("NOOP").startswith("200")
    wait_until(lambda: server.site.meters.get(Meter.JOBS) == 0)
    wait_until(lambda: sorted(os.listdir(served)) == names_before)
    assert (served / "file").read_bytes() == before
    assert client.say("NOOP").startswith("200")
    assert client.say("LIST").startswith("425")


def test_digests_keep_nobody_else_waiting_and_an_address_has_one_at_a_time(
    start: Callable[..., Server], users_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(fd: int, *arguments: object) -> str:
        os.close(fd)
        assert go_on.wait(WAIT_S_MAX)
        return "d1"

    monkeypatch.setattr("headrace.serve.ftp.hashing.digest_file", slowly)
    monkeypatch.setattr("headrace.serve.ftp.listings.LARGE_FOLDER_BYTES", 0)
    server = start(users=str(users_file), threads_max=1)
    with (
        Client(server.port, source_address=("127.0.0.2", 0)) as first,
        Client(server.port, source_address=("127.0.0.2", 0)) as again,
        Client(server.port, source_address=("127.0.0.3", 0)) as second,
        Client(server.port) as user,
    ):
        for client in (first, second):
            client.log_in().send("HASH file")
        wait_until(lambda: len(server.worker.hashing) == 2)
        assert again.log_in().say("HASH file").startswith("450")
        user.log_in("reader", "secret")
        assert "lines" in user.say("STAT .")
        go_on.set()
        assert "d1" in first.answer()
        assert "d1" in second.answer()
        assert again.say("HASH file").startswith("213")


def test_listings_that_are_not_taken_are_bounded(
    start: Callable[..., Server], served: Path
) -> None:
    many = served / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number:0100}").touch()
    server = start(listings_bytes_max=400_000, send_buffer_bytes=4096)
    with Client(server.port) as first, Client(server.port) as second:
        sock = first.log_in().data(SO_RCVBUF=4096)
        # Larger than the bound, but alone.
        assert first.say("LIST many").startswith("150")
        (transfer,) = server.call(lambda: list(server.worker.transfers))
        assert server.worker.listings_bytes == transfer.held_bytes > 400_000
        # Nothing is kept of the names but the text.
        kept = [each for each in gc.get_objects() if type(each) is Entry]
        assert not [each for each in kept if len(each.name) == 100]
        second.log_in()
        second.data().close()
        assert second.say("LIST many").startswith("450")
        assert len(second.retrieve("LIST")) > 0  # small
        with sock:
            assert read_all(sock).count(b"\r\n") == 3000
        assert first.answer().startswith("226")
        assert server.worker.listings_bytes == 0
        assert second.retrieve("LIST many").count(b"\r\n") == 3000


def test_an_abort_of_the_worker_resets_what_a_session_has_not_handed_over(
    client: Client, server: Server
) -> None:
    with client.data(SO_RCVBUF=4096) as sock:
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("226")
        server.call(server.worker.abort)
        wait_until(server.idle)
        with pytest.raises(ConnectionResetError):
            read_all(sock)
