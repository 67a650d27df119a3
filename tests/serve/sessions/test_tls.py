"""FTP through TLS: AUTH, PROT, implicit; and what is in the way of who sits on the path."""

from __future__ import annotations

import ftplib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from ftp_server import Client, Server, read_all, reset, wait_until

from headrace.serve.ftp.data_tls import TlsSending
from headrace.serve.ftp.session import LINGERING_MAX
from headrace.serve.ftp.tls_channel import TlsChannel
from headrace.serve.send_buffer import SO_BUF_LOCK

BIG = os.urandom(64) * 64 * 1024  # 4 MiB


@pytest.fixture
def tls_server(start: Callable[..., Server], certificate: Path) -> Server:
    return start(anonymous="rw", tls_cert=str(certificate))


@pytest.fixture
def tls_client(tls_server: Server, client_tls: ssl.SSLContext) -> Iterator[Client]:
    """Encrypted, logged in, PROT P."""
    with Client(tls_server.port) as client:
        assert client.answer().startswith("220")
        client.encrypt(client_tls)
        assert client.say("USER anonymous").startswith("331")
        assert client.say("PASS x").startswith("230")
        assert client.say("TYPE I").startswith("200")
        assert client.say("PBSZ 0").startswith("200")
        assert client.say("PROT P").startswith("200")
        yield client


def secure(
    client: Client, context: ssl.SSLContext, *, reuse: bool = True, **options: int
) -> ssl.SSLSocket:
    """A data connection; its handshake comes when the command has been given."""
    session = client.sock.session if reuse and isinstance(client.sock, ssl.SSLSocket) else None
    sock = client.data(**options)
    return context.wrap_socket(
        sock,
        server_hostname="localhost",
        session=session,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,  # an end without close_notify is an error
    )


def test_ftplib_goes_both_ways(tls_server: Server, certificate: Path, served: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    with ftplib.FTP_TLS(context=context, timeout=20) as ftp:
        ftp.connect("localhost", tls_server.port)
        ftp.login()
        ftp.prot_p()
        (served / "big").write_bytes(BIG)
        found: list[bytes] = []
        ftp.retrbinary("RETR big", found.append)
        assert b"".join(found) == BIG
        with (served / "big").open("rb") as file:
            ftp.storbinary("STOR copy", file)
        assert sorted(ftp.nlst()) == ["big", "copy", "file", "folder", "lines"]
    assert (served / "copy").read_bytes() == BIG


def test_a_download_is_encrypted(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR file").startswith("150")
        sock.do_handshake()
        assert read_all(sock) == (served / "file").read_bytes()
        sock.unwrap()
    assert tls_client.answer().startswith("226")


def test_a_slow_reader_gets_everything(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    (served / "big").write_bytes(BIG * 4)  # more than all buffers hold
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR big").startswith("150")
        sock.do_handshake()
        assert "RETR /big" in tls_client.say("STAT")
        assert read_all(sock) == BIG * 4
    assert tls_client.answer().startswith("226")


def test_a_part_of_a_file_and_lines(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    tls_client.say("REST 102300")
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR file").startswith("150")
        sock.do_handshake()
        assert read_all(sock) == (served / "file").read_bytes()[102300:]
    assert tls_client.answer().startswith("226")
    tls_client.say("TYPE A")
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR lines").startswith("150")
        sock.do_handshake()
        assert read_all(sock) == b"one\r\ntwo\r\nthree\r\n"
    assert tls_client.answer().startswith("226")


def test_an_upload_is_taken(tls_client: Client, client_tls: ssl.SSLContext, served: Path) -> None:
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("STOR new").startswith("150")
        sock.do_handshake()
        sock.sendall(BIG)
        sock.unwrap().close()
    assert tls_client.answer().startswith("226")
    assert (served / "new").read_bytes() == BIG


def test_an_upload_that_is_reset_is_discarded(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    sock = secure(tls_client, client_tls)
    assert tls_client.say("STOR new").startswith("150")
    sock.do_handshake()
    sock.sendall(b"part")
    reset(sock)
    assert tls_client.answer().startswith("426")
    assert not (served / "new").exists()


def test_a_download_that_is_reset_is_426(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    (served / "big").write_bytes(BIG * 4)
    sock = secure(tls_client, client_tls)
    assert tls_client.say("RETR big").startswith("150")
    sock.do_handshake()
    sock.recv(1000)
    reset(sock)
    assert tls_client.answer().startswith("426")


def test_abor_ends_an_encrypted_download(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    (served / "big").write_bytes(BIG * 4)
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR big").startswith("150")
        sock.do_handshake()
        sock.recv(1000)
        tls_client.send("ABOR")
        assert tls_client.answer().startswith("426")
        assert tls_client.answer().startswith("226")
        with pytest.raises(OSError):  # noqa: PT011 (a reset, or an end without close_notify)
            read_all(sock)


def test_a_handshake_that_fails_is_told(tls_client: Client) -> None:
    with socket.create_connection(("127.0.0.1", tls_client.passive()), 20) as sock:
        assert tls_client.say("RETR file").startswith("150")
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert tls_client.answer().startswith("425")
    assert tls_client.say("NOOP").startswith("200")


def test_a_handshake_that_never_ends_is_ended(
    start: Callable[..., Server], certificate: Path, client_tls: ssl.SSLContext
) -> None:
    server = start(tls_cert=str(certificate), tls_handshake_timeout_s=0.3)
    with Client(server.port) as client:
        client.answer()
        assert client.say("AUTH TLS").startswith("234")
        with pytest.raises((EOFError, ConnectionError)):
            client.answer()
    with Client(server.port) as client:
        client.answer()
        client.encrypt(client_tls)
        client.say("USER anonymous")
        client.say("PASS x")
        client.say("PBSZ 0")
        client.say("PROT P")
        with socket.create_connection(("127.0.0.1", client.passive())):
            assert client.say("RETR file").startswith("150")
            assert client.answer().startswith("425")


def test_what_came_in_the_clear_behind_auth_is_dropped(
    tls_server: Server, client_tls: ssl.SSLContext
) -> None:
    with Client(tls_server.port) as client:
        client.answer()
        # In one segment, as somebody on the path would insert it.
        client.send("AUTH TLS", "USER anonymous")
        assert client.answer().startswith("234")
        client.sock = client_tls.wrap_socket(client.sock, server_hostname="localhost")
        assert client.say("PASS x").startswith("503")


def test_a_command_that_comes_with_the_end_of_the_handshake_is_heard(
    tls_server: Server, client_tls: ssl.SSLContext
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with Client(tls_server.port) as client:
        client.answer()
        assert client.say("AUTH TLS").startswith("234")
        tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sock.sendall(outgoing.read())
                incoming.write(client.sock.recv(65536))
        tls.write(b"USER anonymous\r\n")
        client.sock.sendall(outgoing.read())  # Finished and USER, in one segment
        while True:
            try:
                assert tls.read().startswith(b"331")
                break
            except ssl.SSLWantReadError:
                incoming.write(client.sock.recv(65536))


def test_implicit_tls_begins_encrypted(
    tls_server: Server, client_tls: ssl.SSLContext, served: Path
) -> None:
    with Client(tls_server.tls_port) as client:
        client.sock = client_tls.wrap_socket(client.sock, server_hostname="localhost")
        client.log_in()
        with secure(client, client_tls) as sock:
            assert client.say("RETR file").startswith("150")
            sock.do_handshake()
            assert read_all(sock) == (served / "file").read_bytes()
        assert client.answer().startswith("226")
        assert client.say("QUIT").startswith("221")


def test_tls_that_is_required_is_asked_for(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    users_file: Path,
) -> None:
    server = start(tls_cert=str(certificate), tls_required=True, users=str(users_file))
    with Client(server.port) as client:
        client.answer()
        assert client.say("USER alice").startswith("530")
        client.encrypt(client_tls)
        client.say("USER alice")
        assert client.say("PASS secret").startswith("230")
        client.passive()
        assert client.say("RETR inner").startswith("522")


def test_a_session_is_used_again_where_it_must_be(
    start: Callable[..., Server], certificate: Path, client_tls: ssl.SSLContext, served: Path
) -> None:
    server = start(tls_cert=str(certificate), tls_session_reuse=True)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_tls.load_verify_locations(certificate)
    with Client(server.port) as client:
        client.answer()
        client.encrypt(client_tls)
        for command in ("USER anonymous", "PASS x", "TYPE I", "PBSZ 0", "PROT P"):
            client.say(command)
        with secure(client, client_tls) as sock:
            assert client.say("RETR file").startswith("150")
            sock.do_handshake()
            assert read_all(sock) == (served / "file").read_bytes()
        assert client.answer().startswith("226")
        with secure(client, client_tls, reuse=False) as sock:
            assert client.say("RETR file").startswith("150")
            with pytest.raises(OSError):  # noqa: PT011 (reset, or an end without close_notify)
                shake_hands_and_read(sock)
        assert client.answer().startswith("522")


def test_a_reload_leaves_a_session_its_certificate_and_its_tls_sessions(
    start: Callable[..., Server], certificate: Path, served: Path
) -> None:
    server = start(tls_cert=str(certificate), tls_session_reuse=True)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_tls.load_verify_locations(certificate)
    with Client(server.port) as client:
        client.answer()
        client.encrypt(client_tls)
        for command in ("USER anonymous", "PASS x", "TYPE I", "PBSZ 0", "PROT P"):
            client.say(command)
        assert server.call(server.site.reload)
        with secure(client, client_tls) as sock:
            assert client.say("RETR file").startswith("150")
            sock.do_handshake()
            assert read_all(sock) == (served / "file").read_bytes()
        assert client.answer().startswith("226")


def shake_hands_and_read(sock: ssl.SSLSocket) -> bytes:
    sock.do_handshake()
    return sock.recv(1)


def test_a_client_that_goes_in_the_handshake_leaves_nothing(tls_server: Server) -> None:
    for end in (reset, socket.socket.close):
        explicit = Client(tls_server.port)
        explicit.answer()
        assert explicit.say("AUTH TLS").startswith("234")
        implicit = Client(tls_server.tls_port)
        for client in (explicit, implicit):
            client.sock.sendall(b"\x16\x03")
            end(client.sock)
    wait_until(tls_server.idle)


def store_at_once(client: Client, context: ssl.SSLContext, name: str, data: bytes) -> str:
    """Upload with data and close_notify in one segment with the client's Finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with client.data() as sock:
        assert client.say(f"STOR {name}").startswith("150")
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(data)
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        sock.sendall(outgoing.read())
        return client.answer()


def log_in_encrypted(client: Client, context: ssl.SSLContext, user: str = "anonymous") -> None:
    client.answer()
    client.encrypt(context)
    for command in (f"USER {user}", "PASS secret", "TYPE I", "PBSZ 0", "PROT P"):
        assert client.say(command)[0] in "23"


@pytest.mark.parametrize("implementation", ["", "asyncio"])
def test_an_upload_with_the_end_of_the_handshake_needs_its_session_too(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    implementation: str,
) -> None:
    monkeypatch.setenv("HEADRACE_TLS", implementation)
    server = start(anonymous="rw", tls_cert=str(certificate), tls_session_reuse=True)
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls)
        assert store_at_once(client, client_tls, "new", b"evil").startswith("522")
        assert not (served / "new").exists()
        assert client.say("NOOP").startswith("200")


@pytest.mark.parametrize("implementation", ["", "asyncio"])
@pytest.mark.parametrize("user", ["anonymous", "slow"])
def test_an_upload_with_the_end_of_the_handshake_is_taken(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    served: Path,
    users_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    implementation: str,
    user: str,
) -> None:
    monkeypatch.setenv("HEADRACE_TLS", implementation)
    server = start(anonymous="rw", tls_cert=str(certificate), users=str(users_file))
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls, user)
        # Enough for the rate to make a pause: reading stops within the first callback.
        data = b"good" * 6 * 1024
        assert store_at_once(client, client_tls, "new", data).startswith("226")
    assert (served / "new").read_bytes() == data


def test_a_handshake_that_ends_after_its_transfer_is_reset() -> None:
    transfer, transport = mock.Mock(ended=True), mock.Mock()
    channel = TlsChannel(transfer, mock.Mock())
    transfer.session.worker.spawn.call_args.args[0].close()
    channel.connection_made(transport)
    transport.abort.assert_called_once_with()
    transfer.begin.assert_not_called()


def leave_untaken(client: Client, context: ssl.SSLContext) -> ssl.SSLSocket:
    """RETR, answered with 226, and everything still lies on the data connection."""
    sock = secure(client, context, SO_RCVBUF=4096)
    assert client.say("RETR file").startswith("150")
    sock.do_handshake()
    assert client.answer().startswith("226")
    return sock


def how_it_ends(sock: ssl.SSLSocket) -> bytes | str:
    with sock:
        try:
            return read_all(sock)
        except (ConnectionResetError, ssl.SSLEOFError):
            return "reset"


def test_who_takes_nothing_keeps_few_encrypted_connections(
    tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext, served: Path
) -> None:
    worker = tls_server.worker
    socks = [leave_untaken(tls_client, client_tls) for _ in range(LINGERING_MAX + 3)]
    # The latest is the session's, and so many are the worker's.
    assert tls_server.call(lambda: len(worker.lingering)) == LINGERING_MAX
    ends = [how_it_ends(sock) for sock in socks]
    assert ends.count("reset") == 2
    assert ends.count((served / "file").read_bytes()) == LINGERING_MAX + 1
    assert tls_client.say("NOOP").startswith("200")
    wait_until(lambda: tls_server.log().count("complete=true") == LINGERING_MAX + 1)


def test_who_has_all_and_sends_no_close_notify_is_not_waited_for(
    tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext
) -> None:
    with secure(tls_client, client_tls) as sock:
        assert tls_client.say("RETR file").startswith("150")
        sock.do_handshake()
        assert tls_client.answer().startswith("226")
        # It has not closed, and not even read: its kernel has everything.
        wait_until(
            lambda: tls_client.say("NOOP").startswith("200") and "complete=true" in tls_server.log()
        )


def test_an_encrypted_connection_outlives_its_session_and_not_the_worker(
    tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext, served: Path
) -> None:
    worker = tls_server.worker
    taken, left = (leave_untaken(tls_client, client_tls) for _ in range(2))
    assert tls_client.say("QUIT").startswith("221")
    tls_client.close()
    wait_until(lambda: tls_server.call(lambda: not worker.sessions))
    assert tls_server.call(lambda: len(worker.lingering)) == 2
    assert how_it_ends(taken) == (served / "file").read_bytes()
    wait_until(lambda: tls_server.call(lambda: len(worker.lingering)) == 1)
    tls_server.call(worker.abort)
    assert tls_server.call(lambda: not worker.lingering)
    assert how_it_ends(left) == "reset"
    assert "complete=false" in tls_server.log()


def test_a_reader_who_stalls_after_226_is_reset(
    start: Callable[..., Server], certificate: Path, client_tls: ssl.SSLContext
) -> None:
    server = start(tls_cert=str(certificate), stall_timeout_s=0.3)
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls)
        sock = leave_untaken(client, client_tls)
        wait_until(lambda: "complete=false" in server.log())
        assert how_it_ends(sock) == "reset"
    assert "transfer_stalled" in server.log()


def test_a_slow_reader_is_given_longer_than_a_stall_after_226(
    start: Callable[..., Server], certificate: Path, client_tls: ssl.SSLContext, served: Path
) -> None:
    server = start(tls_cert=str(certificate), stall_timeout_s=1.5)
    data = (served / "file").read_bytes()
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls)
        with leave_untaken(client, client_tls) as sock:
            found = bytearray()
            while chunk := sock.recv(4096):
                found += chunk
                time.sleep(0.09)  # a reader of 45 KiB/s: 2.2 s for all
            assert bytes(found) == data
    wait_until(lambda: "complete=true" in server.log())


def test_the_kernel_holds_little_for_who_takes_nothing(
    tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext, served: Path
) -> None:
    (served / "big").write_bytes(BIG)
    with secure(tls_client, client_tls, SO_RCVBUF=4096) as sock:
        assert tls_client.say("RETR big").startswith("150")
        sock.do_handshake()
        (transfer,) = tls_server.call(lambda: list(tls_server.worker.transfers))
        assert isinstance(transfer, TlsSending)
        channel = transfer.channel
        assert channel is not None
        wait_until(lambda: tls_server.call(lambda: channel.waiting_bytes))  # all is full
        kernel = channel.transport.get_extra_info("socket")
        held = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert held == 2 * tls_server.worker.limits.send_buffer_bytes  # socket(7): doubled
        # What lies anywhere on our side has not moved.
        written, moved = tls_server.call(lambda: (transfer.done, transfer.moved()))
        assert moved < held / 2 < written < len(BIG) / 2
        tls_server.call(transfer.turn)  # as its rate's timer would
        assert tls_server.call(lambda: transfer.done) == written


def test_download_of_who_closes_its_side_is_reset(
    tls_client: Client, client_tls: ssl.SSLContext, served: Path
) -> None:
    """A part must not end like the whole, for who takes an end without close_notify as one."""
    (served / "big").write_bytes(BIG)
    with secure(tls_client, client_tls, SO_RCVBUF=8192) as sock:
        assert tls_client.say("RETR big").startswith("150")
        sock.do_handshake()
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert tls_client.answer().startswith("426")


@pytest.mark.parametrize("rate", [None, 100_000_000])
def test_fast_client_is_no_longer_bound_by_the_send_buffer(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    served: Path,
    rate: int | None,
) -> None:
    tls_server = start(tls_cert=str(certificate), rate_bytes_per_s_max=rate)
    (served / "big").write_bytes(BIG)
    with Client(tls_server.port) as tls_client:
        fetch_fast(tls_client, tls_server, client_tls)


def fetch_fast(tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext) -> None:
    assert tls_client.answer().startswith("220")
    tls_client.encrypt(client_tls)
    for said in ("USER anonymous", "PASS x", "TYPE I", "PBSZ 0", "PROT P"):
        tls_client.say(said)
    with secure(tls_client, client_tls, SO_RCVBUF=32768) as sock:
        assert tls_client.say("RETR big").startswith("150")
        sock.do_handshake()
        data = b""
        while len(data) < len(BIG) // 2:
            data += sock.recv(65536)
            time.sleep(0.005)  # slower than the server sends
        (transfer,) = tls_server.call(lambda: list(tls_server.worker.transfers))
        assert isinstance(transfer, TlsSending)
        assert transfer.is_lifted
        assert transfer.channel is not None
        kernel = transfer.channel.transport.get_extra_info("socket")
        assert kernel.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == 0
        while piece := sock.recv(65536):
            data += piece
    assert data == BIG
    assert tls_client.answer().startswith("226")


def test_a_rate_is_no_stall(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    served: Path,
    users_file: Path,
) -> None:
    # What comes, or was sent, at once is worth more seconds of the rate than a stall may last.
    server = start(tls_cert=str(certificate), users=str(users_file), stall_timeout_s=0.3)
    data = (served / "file").read_bytes()[: 80 * 1024]
    (served / "some").write_bytes(data)
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls, "slow")
        assert store_at_once(client, client_tls, "new", data).startswith("226")
        with secure(client, client_tls) as sock:
            assert client.say("RETR some").startswith("150")
            sock.do_handshake()
            assert read_all(sock) == data
        assert client.answer().startswith("226")
    assert (served / "new").read_bytes() == data
    assert "transfer_stalled" not in server.log()


@pytest.mark.parametrize("implementation", ["", "asyncio"])
@pytest.mark.parametrize("end", ["drain", "abort", "the login's time"])
def test_control_connections_in_the_handshake_count_and_are_ended(
    start: Callable[..., Server],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    implementation: str,
) -> None:
    monkeypatch.setenv("HEADRACE_TLS", implementation)
    limits = {"login_timeout_s": 0.2} if end == "the login's time" else {}
    server = start(tls_cert=str(certificate), **limits)
    with Client(server.port) as explicit, Client(server.tls_port) as implicit:
        explicit.answer()
        assert explicit.say("AUTH TLS").startswith("234")
        implicit.sock.sendall(b"\x16\x03")
        wait_until(lambda: server.call(lambda: len(server.worker.sessions)) == 2)
        assert server.site.gate.clients == 2
        if not limits:
            server.call(getattr(server.worker, end))
        for client in (explicit, implicit):
            with pytest.raises((EOFError, ConnectionError)):
                client.read_line()
        wait_until(server.idle)
    assert server.site.gate.clients == 0


def test_an_implicit_handshake_that_never_ends_is_ended(
    start: Callable[..., Server], certificate: Path
) -> None:
    server = start(tls_cert=str(certificate), tls_handshake_timeout_s=0.3)
    with Client(server.tls_port) as client:
        client.sock.sendall(b"\x16\x03")
        with pytest.raises((EOFError, ConnectionError)):
            client.read_line()
        wait_until(server.idle)


@pytest.mark.parametrize("quits", [False, True])
def test_who_closes_its_side_early_and_takes_nothing_is_reset(
    start: Callable[..., Server], certificate: Path, client_tls: ssl.SSLContext, quits: bool
) -> None:
    server = start(tls_cert=str(certificate), stall_timeout_s=0.3)
    with Client(server.port) as client:
        log_in_encrypted(client, client_tls)
        sock = leave_untaken(client, client_tls)
        if quits:
            client.close()
            wait_until(lambda: server.call(lambda: not server.worker.sessions))
        socket.socket.shutdown(sock, socket.SHUT_WR)  # not SSLSocket's, which forgets its TLS
        wait_until(lambda: "complete=false" in server.log())
        assert how_it_ends(sock) == "reset"
    wait_until(server.idle)
    assert server.site.gate.clients == 0
    assert server.log().count("complete=false") == 1
    assert "complete=true" not in server.log()


def test_who_closes_its_side_early_may_read_on(
    tls_client: Client, tls_server: Server, client_tls: ssl.SSLContext, served: Path
) -> None:
    sock = leave_untaken(tls_client, client_tls)
    socket.socket.shutdown(sock, socket.SHUT_WR)
    assert how_it_ends(sock) == (served / "file").read_bytes()
    wait_until(
        lambda: tls_client.say("NOOP").startswith("200") and "complete=true" in tls_server.log()
    )


def test_a_mistake_in_a_handshake_ends_the_session_at_once(
    tls_server: Server, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object, **keywords: object) -> None:
        raise ModuleNotFoundError("something that is loaded late")

    with Client(tls_server.port) as client:
        assert client.answer().startswith("220")
        monkeypatch.setattr(tls_server.loop, "start_tls", broken)
        with pytest.raises((OSError, EOFError)):
            client.encrypt(client_tls)
        wait_until(tls_server.idle)
    assert tls_server.complaints.pop()["exception"].args == ("something that is loaded late",)
