"""The load generator counts what is right, and hides nothing of what is wrong."""

import os
import resource
import signal
import socket
import threading

import pytest
import servers

from headrace.lab.limits import TooManyConnectionsError
from headrace.lab.load import ERROR_KINDS, Load, LoadError
from headrace.lab.window import Window

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
SHORT_S = 0.05


def load_once(handler: servers.Handler, seconds: float = SHORT_S, **options: object) -> Window:
    with servers.serving(handler) as address:
        load = Load(address, **{"busy": 2, "size": 100, **options})
        try:
            load.connect()
            return load.run(seconds)
        finally:
            load.close()


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 70_000, 3_000_000])
def test_load_counts_every_request_of_an_honest_server(size):
    window = load_once(servers.honest, size=size)
    assert window.errors == {}
    assert window.requests >= 2
    assert sum(count for _, count in window.latency_ns) == window.requests


def test_load_takes_the_same_bytes_for_a_reply_when_it_asks_for_an_echo():
    window = load_once(servers.echoes, echo=True)
    assert window.errors == {}
    assert window.requests >= 2


def test_load_that_asks_for_an_echo_takes_no_upper_case():
    window = load_once(servers.honest, echo=True)
    assert set(window.errors) == {"wrong_bytes"}


@pytest.mark.parametrize("size", [1, 2, 64, 1024, 102_400])
def test_load_sends_lines(size):
    received: list[bytes] = []

    def note(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for line in lines:
                received.append(line)
                connection.sendall(line)

    window = load_once(note, size=size, echo=True, lines=True)
    assert window.errors == {}
    assert len(received) == window.requests >= 2
    assert {len(line) for line in received} == {size}
    assert size < 8 or len(set(received)) > 1


def test_load_reaches_a_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with servers.serving(servers.honest, path) as address:
        load = Load(address, busy=3, idle=2, size=3_000)
        load.connect()
        window = load.run(SHORT_S)
        assert load.target_name() == path
        load.close()
    assert window.errors == {}
    assert window.requests >= 3


def test_load_names_a_unix_socket_on_which_nobody_listens(tmp_path):
    load = Load(str(tmp_path / "none"), busy=1)
    with pytest.raises(LoadError, match=r"cannot connect to .*/none after 0 of 1 .*No such file"):
        load.connect()


def test_load_refuses_the_path_of_a_unix_socket_that_is_too_long():
    with pytest.raises(ValueError, match="too long"):
        Load("/" + "x" * 107, busy=1)


@pytest.mark.parametrize("size", [1, 1024, 60_000])
def test_load_asks_by_datagrams(size):
    with servers.answering_datagrams(bytes.upper) as address:
        load = Load(address, busy=2, size=size, datagrams=True)
        load.connect()
        window = load.run(SHORT_S)
        load.close()
    assert window.errors == {}
    assert window.requests >= 2


def test_load_counts_a_datagram_that_is_lost():
    with servers.answering_datagrams(lambda data: None) as address:
        load = Load(address, busy=2, datagrams=True, reply_timeout_s=0.05)
        load.connect()
        window = load.run(SHORT_S)
        load.close()
    assert window.requests == 0
    assert window.errors == {"no_reply": 2}


def test_load_takes_replies_in_any_pieces():
    window = load_once(servers.byte_by_byte, size=50)
    assert window.errors == {}
    assert window.requests >= 2


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (servers.wrong_byte, "wrong_bytes"),
        (servers.doubled, "extra_bytes"),
        (servers.closes_at_once, "closed"),
        (servers.closes_within_reply, "short_reply"),
        (servers.resets, "reset"),
    ],
)
def test_load_names_the_lie_of_a_server(handler, kind):
    window = load_once(handler)
    assert window.requests == 0
    assert set(window.errors) == {kind}
    # Each of two connections is replaced until it has failed three times in a row.
    assert window.errors[kind] == 6
    assert window.reconnects == 4


def test_load_gives_up_a_server_that_never_answers():
    window = load_once(servers.never_answers, reply_timeout_s=0.1)
    assert window.requests == 0
    assert window.errors == {"no_reply": 2}


def test_load_tells_a_late_reply_from_the_right_one():
    def one_behind(connection: socket.socket) -> None:
        last = connection.recv(100).upper()
        connection.sendall(last)
        while data := connection.recv(100):
            connection.sendall(last)
            last = data.upper()

    window = load_once(one_behind, busy=1)
    assert "wrong_bytes" in window.errors


def test_load_counts_an_idle_connection_that_the_server_closes():
    closing = threading.Event()

    def close_first(connection: socket.socket) -> None:
        if not closing.is_set():
            closing.set()  # the first connection is an idle one; it is closed as it returns
        else:
            servers.honest(connection)

    window = load_once(close_first, idle=3)
    assert window.errors == {"idle_closed": 1}
    assert window.requests > 0


def test_load_runs_again_after_a_run():
    with servers.serving(servers.honest) as address:
        load = Load(address, busy=3, size=10)
        load.connect()
        first, second = load.run(SHORT_S), load.run(SHORT_S)
        assert load.connected == 3
        load.close()
        load.close()
    assert first.errors == second.errors == {}
    assert sum(count for _, count in second.latency_ns) == second.requests > 0


def test_load_reports_its_own_work():
    window = load_once(servers.honest)
    assert 0.0 < window.busy_share <= 1.0
    assert 0.0 < window.cpu_share <= 1.0
    assert 0.0 <= window.self_latency_share <= 1.0
    assert window.stall_ms_max > 0.0


def test_load_sleeps_when_it_may_not_spin():
    window = load_once(servers.honest, spin=False)
    assert window.errors == {}
    assert window.requests > 0


def test_load_names_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    load = Load(("127.0.0.1", port), busy=2)
    with pytest.raises(LoadError, match=f"cannot connect to 127.0.0.1:{port} after 0 of 2"):
        load.connect()


def test_load_refuses_an_address_that_is_not_loopback():
    with pytest.raises(ValueError, match=r"8.8.8.8 is not a loopback address"):
        Load(("8.8.8.8", 80), busy=1)


def test_load_refuses_more_connections_than_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("no limit to reach")
    with pytest.raises(TooManyConnectionsError, match="RLIMIT_NOFILE"):
        Load(("127.0.0.1", 1), busy=1, idle=hard)


def test_load_closes_every_descriptor():
    def descriptors() -> list[str]:
        return os.listdir("/proc/self/fd")

    before = len(descriptors())
    load_once(servers.honest, idle=5)
    assert len(descriptors()) == before


def test_load_lets_a_signal_handler_end_the_run():
    class EndedError(Exception):
        pass

    def end(number: int, frame: object) -> None:
        raise EndedError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(EndedError):
            load_once(servers.honest, seconds=60.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_load_speaks_of_every_kind_of_error_it_documents():
    from headrace.lab.judge import ERROR_WORDS

    assert set(ERROR_WORDS) == set(ERROR_KINDS)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n"
        b"0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2000 + b"\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_load_reads_http_replies_in_any_pieces(reply, split):
    window = load_once(servers.http_server(reply, split=split), http_request=REQUEST)
    assert window.errors == {}
    assert window.requests >= 2
    assert window.reconnects == 0


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_load_connects_again_where_http_ends_the_connection(reply):
    window = load_once(servers.http_server(reply, close=True), http_request=REQUEST)
    assert window.errors == {}
    assert window.requests >= 2
    assert window.reconnects >= 1


def test_load_asks_no_http_connection_that_ended_between_two_runs():
    busy = 600  # more than one look at the sockets tells
    ours: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        ours.append(connection)
        servers.http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(connection)

    with servers.serving(answer) as address:
        load = Load(address, busy=busy, http_request=REQUEST)
        load.connect()
        first = load.run(0.0)
        for one in list(ours):
            one.shutdown(socket.SHUT_WR)
        second = load.run(0.0)
        assert load.connected == busy
        load.close()
    assert (first.requests, first.errors, first.reconnects) == (busy, {}, 0)
    assert (second.errors, second.reconnects) == ({}, busy)


@pytest.mark.parametrize(
    ("reply", "close", "kind"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno", False, "http_status"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "http_malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", False, "http_malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay", False, "extra_bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", False, "http_malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", True, "short_reply"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, False, "http_malformed"),
    ],
)
def test_load_names_what_is_wrong_with_http(reply, close, kind):
    window = load_once(servers.http_server(reply, close=close), http_request=REQUEST)
    assert window.requests == 0
    assert kind in window.errors
    if kind == "http_status":
        assert window.bad_status == 500
