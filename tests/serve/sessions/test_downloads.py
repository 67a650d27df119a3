"""RETR: whole, in part, as lines, slowly, and when something happens to the file or the client."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import WAIT_S_MAX, Client, Server, read_all, reset, wait_until

import headrace
from headrace.serve.send_buffer import SO_BUF_LOCK

MODELS = [
    pytest.param(info.name, marks=() if info.available else pytest.mark.skip(reason=info.reason))
    for info in headrace.models()
]
BIG = os.urandom(64) * 64 * 1024  # 4 MiB


def test_retr_sends_the_file(client: Client, served: Path) -> None:
    assert client.retrieve("RETR file") == (served / "file").read_bytes()


@pytest.mark.parametrize("model", MODELS)
def test_a_large_file_goes_both_ways_on_a_model(
    start: Callable[..., Server], served: Path, model: str
) -> None:
    (served / "big").write_bytes(BIG)
    with Client(start(model=model, anonymous="rw").port) as client:
        assert client.log_in().retrieve("RETR big", SO_RCVBUF=8192) == BIG
        assert client.store("STOR new", BIG).startswith("226")
    assert (served / "new").read_bytes() == BIG


def test_retr_says_the_size(client: Client) -> None:
    with client.data() as sock:
        assert "(102400 bytes)" in client.say("RETR file")
        read_all(sock)
    client.answer()


def test_retr_sends_an_empty_file(client: Client, served: Path) -> None:
    (served / "empty").write_bytes(b"")
    assert client.retrieve("RETR empty") == b""


def test_retr_begins_where_rest_says(client: Client, served: Path) -> None:
    assert client.say("REST 102300").startswith("350")
    assert client.retrieve("RETR file") == (served / "file").read_bytes()[102300:]
    assert len(client.retrieve("RETR file")) == 102400


def test_retr_refuses_an_offset_beyond_the_end(client: Client) -> None:
    client.data().close()
    client.say("REST 102401")
    assert client.say("RETR file").startswith("554")


def test_retr_sends_a_range(client: Client, served: Path) -> None:
    assert client.say("RANG 10 19").startswith("350")
    assert client.retrieve("RETR file") == (served / "file").read_bytes()[10:20]


def test_retr_ends_lines_in_crlf_for_type_a(client: Client) -> None:
    client.say("TYPE A")
    assert client.retrieve("RETR lines") == b"one\r\ntwo\r\nthree\r\n"


def test_retr_of_type_a_begins_where_rest_says(client: Client) -> None:
    client.say("TYPE A")
    client.say("REST 4")
    assert client.retrieve("RETR lines") == b"\ntwo\r\nthree\r\n"


@pytest.mark.parametrize(("name", "code"), [("nothing", "550"), ("folder", "550"), ("../x", "550")])
def test_retr_refuses(client: Client, name: str, code: str) -> None:
    client.data().close()
    assert client.say(f"RETR {name}").startswith(code)


def test_retr_wants_a_data_connection(client: Client) -> None:
    assert client.say("RETR file").startswith("425")


def test_retr_connects_where_port_says(client: Client, served: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert client.say(f"PORT 127,0,0,1,{port >> 8},{port & 255}").startswith("200")
        client.send("RETR file")
        sock, _ = listener.accept()
        with sock:
            assert read_all(sock) == (served / "file").read_bytes()
    assert client.answer().startswith("150")
    assert client.answer().startswith("226")


def test_retr_says_that_nobody_listens(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client.say(f"EPRT |1|127.0.0.1|{port}|")
    assert client.say("RETR file").startswith("150")
    assert client.answer().startswith("425")


def test_retr_waits_for_a_client_that_connects_late(client: Client, served: Path) -> None:
    port = client.passive()
    assert client.say("RETR file").startswith("150")
    with socket.create_connection(("127.0.0.1", port)) as sock:
        assert read_all(sock) == (served / "file").read_bytes()
    assert client.answer().startswith("226")


def test_retr_gives_up_a_client_that_never_connects(start: Callable[..., Server]) -> None:
    with Client(start(data_connection_timeout_s=0.2).port) as client:
        client.log_in().passive()
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("425")
        assert client.say("NOOP").startswith("200")


def test_retr_ends_in_451_when_the_file_becomes_shorter(client: Client, served: Path) -> None:
    path = served / "big"
    with path.open("wb") as file:
        file.truncate(64 * 2**20)
    with client.data(SO_RCVBUF=8192) as sock:
        assert client.say("RETR big").startswith("150")
        sock.recv(1000)
        os.truncate(path, 1000)
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert client.answer().startswith("451")


def test_retr_goes_on_with_the_old_file_when_it_is_replaced(client: Client, served: Path) -> None:
    (served / "big").write_bytes(BIG)
    with client.data(SO_RCVBUF=8192) as sock:
        assert client.say("RETR big").startswith("150")
        begin = sock.recv(1000)
        (served / "new").write_bytes(b"x" * len(BIG))
        (served / "new").rename(served / "big")
        assert begin + read_all(sock) == BIG
    assert client.answer().startswith("226")


def test_retr_ends_in_426_when_the_client_resets(
    client: Client, served: Path, server: Server
) -> None:
    (served / "big").write_bytes(BIG * 4)
    sock = client.data(SO_RCVBUF=8192)
    assert client.say("RETR big").startswith("150")
    sock.recv(1000)
    reset(sock)
    assert client.answer().startswith("426")
    wait_until(lambda: "complete=false" in server.log())


def test_retr_resets_a_client_that_stalls(start: Callable[..., Server], served: Path) -> None:
    (served / "big").write_bytes(BIG * 4)
    server = start(stall_timeout_s=0.3)
    with Client(server.port) as client:
        with client.log_in().data(SO_RCVBUF=8192) as sock:
            assert client.say("RETR big").startswith("150")
            assert client.answer().startswith("426")
            with pytest.raises(ConnectionResetError):
                read_all(sock)
    assert "transfer_stalled" in server.log()


def test_what_is_sent_and_not_taken_is_reset_after_226(
    start: Callable[..., Server], served: Path
) -> None:
    server = start(stall_timeout_s=0.3)
    with Client(server.port) as client:
        with client.log_in().data(SO_RCVBUF=4096) as sock:
            assert client.say("RETR file").startswith("150")
            assert client.answer().startswith("226")  # all of it is in the kernel's buffers
            wait_until(lambda: "complete=false" in server.log())
            with pytest.raises(ConnectionResetError):
                read_all(sock)
        assert client.say("NOOP").startswith("200")


def test_what_is_sent_is_logged_as_complete_when_it_was_taken(
    client: Client, server: Server
) -> None:
    with client.data(SO_RCVBUF=4096) as sock:
        assert client.say("RETR file").startswith("150")
        assert client.answer().startswith("226")
        assert "transfer" not in server.log()
        assert len(read_all(sock)) == 102400
    client.close()
    wait_until(lambda: "bytes=102400" in server.log())
    assert "complete=true" in server.log()


def test_a_user_gets_no_more_than_the_rate(
    start: Callable[..., Server], users_file: Path, served: Path
) -> None:
    server = start(users=str(users_file))
    with Client(server.port) as client:
        client.log_in("slow", "secret")
        assert client.retrieve("RETR file") == (served / "file").read_bytes()
    wait_until(lambda: "bytes=102400" in server.log())
    # 64 KiB a second, and one second's worth at once.
    seconds = float(server.log().split("seconds=")[1].split()[0])
    assert seconds > 0.4


def test_a_slow_client_is_ended_by_the_minimum_rate(
    start: Callable[..., Server], served: Path
) -> None:
    (served / "big").write_bytes(BIG * 4)
    server = start(rate_window_s=1.0, rate_bytes_per_s_min=2**30)
    with Client(server.port) as client:
        with client.log_in().data(SO_RCVBUF=8192) as sock:
            assert client.say("RETR big").startswith("150")
            sock.setblocking(False)

            def taken() -> bool:
                try:
                    return not sock.recv(1000)
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    return True

            wait_until(taken)
        assert client.answer().startswith("426")


def test_retr_connects_from_the_address_that_the_client_has_reached(
    start: Callable[..., Server],
) -> None:
    server = start(host="127.0.0.5")
    with Client(server.port, "127.0.0.5") as client, socket.create_server(("", 0)) as listener:
        listener.settimeout(WAIT_S_MAX)
        client.log_in()
        assert client.say(f"EPRT |1|127.0.0.1|{listener.getsockname()[1]}|").startswith("200")
        assert client.say("RETR file").startswith("150")
        sock, peer = listener.accept()
        with sock:
            assert peer[0] == "127.0.0.5"
            assert len(read_all(sock)) == 102400
        assert client.answer().startswith("226")


@pytest.mark.parametrize("rate", [None, 100_000_000])
@pytest.mark.parametrize("model", MODELS)
def test_fast_client_is_no_longer_bound_by_the_send_buffer(
    start: Callable[..., Server], served: Path, model: str, rate: int | None
) -> None:
    (served / "big").write_bytes(BIG)
    server = start(model=model, rate_bytes_per_s_max=rate)
    with Client(server.port) as client:
        client.log_in()
        with client.data(SO_RCVBUF=32768) as sock:
            assert client.say("RETR big").startswith("150")
            data = read_steadily(sock, len(BIG) // 2)
            (transfer,) = server.call(lambda: list(server.worker.transfers))
            assert transfer.is_lifted
            assert transfer.sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) == 0
            data += read_all(sock)
        assert data == BIG
        assert client.answer().startswith("226")


def read_steadily(sock: socket.socket, size: int) -> bytes:
    """Fast, and slower than the server sends: its buffer is full now and then."""
    data = b""
    while len(data) < size:
        data += sock.recv(65536)
        time.sleep(0.005)
    return data


@pytest.mark.parametrize("begin", [102401, 10**12])
def test_hash_refuses_a_range_behind_the_end(client: Client, begin: int) -> None:
    assert client.say(f"RANG {begin} {begin + 10}").startswith("350")
    assert client.say("HASH file").startswith("551")
    assert client.say("RANG 102390 102500").startswith("350")
    assert client.say("HASH file").startswith("213")
