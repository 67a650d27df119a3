"""getaddrinfo(): numbers are answered at once and as by socket.getaddrinfo(), names by a thread."""

from __future__ import annotations

import socket
import threading

import pytest

LITERALS = [
    ("127.0.0.1", 80),
    ("::1", 80),
    (b"127.0.0.1", "80"),
    ("127.1", b"80"),
    ("fe80::1%lo", None),
    (None, 80),
]
HINTS = [
    {},
    {"type": socket.SOCK_STREAM},
    {"type": socket.SOCK_DGRAM, "proto": socket.IPPROTO_UDP},
    {"flags": socket.AI_PASSIVE},
]


@pytest.mark.parametrize("hints", HINTS)
@pytest.mark.parametrize(("host", "port"), LITERALS)
def test_getaddrinfo_of_numbers_answers_as_the_socket_module(run, loop, host, port, hints):
    assert run(loop.getaddrinfo(host, port, **hints)) == socket.getaddrinfo(host, port, **hints)


def test_getaddrinfo_of_a_number_knows_its_canonical_name(run, loop):
    found = run(loop.getaddrinfo("::1", 80, flags=socket.AI_CANONNAME))
    assert found == socket.getaddrinfo("::1", 80, flags=socket.AI_CANONNAME)


@pytest.mark.parametrize("debug", [False, True])
def test_getaddrinfo_asks_a_thread_for_what_is_no_number(run, loop, monkeypatch, debug):
    threads = []

    def answer(*arguments):
        threads.append(threading.current_thread())
        return [arguments]

    loop.set_debug(debug)
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert run(loop.getaddrinfo("a.name", "http")) == [("a.name", "http", 0, 0, 0, 0)]
    # Whoever has replaced the function may do more than look at numbers.
    assert run(loop.getaddrinfo("127.0.0.1", 80)) == [("127.0.0.1", 80, 0, 0, 0, 0)]
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_getaddrinfo_of_a_number_starts_no_thread(headrace_run, headrace_loop):
    headrace_run(headrace_loop.getaddrinfo("::1", "80"))
    assert headrace_loop._default_executor is None


@pytest.mark.parametrize(
    ("host", "port", "hints"),
    [
        ("127.0.0.1", 80, {"family": socket.AF_INET6}),
        ("127.0.0.1", 80, {"family": 12345}),
        ("127.0.0.1", "no service", {}),
        ("not a name", 80, {"flags": socket.AI_NUMERICHOST}),
    ],
)
def test_getaddrinfo_raises_the_error_of_the_socket_module(run, loop, host, port, hints):
    with pytest.raises(socket.gaierror) as expected:
        socket.getaddrinfo(host, port, **hints)
    with pytest.raises(socket.gaierror) as raised:
        run(loop.getaddrinfo(host, port, **hints))
    assert raised.value.args == expected.value.args


def test_getaddrinfo_refuses_what_is_no_host(run, loop):
    with pytest.raises(TypeError):
        run(loop.getaddrinfo(127, 80))
