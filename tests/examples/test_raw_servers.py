"""Each raw server meets fifty clients: quick ones, ones that do not read, ones that vanish."""

import contextlib
import resource
import select
import shutil
import struct
import subprocess
import sys
import time

import pytest
from raw import (
    PATIENCE_S,
    RAW,
    ask_all,
    exchange,
    leave,
    payload,
    push,
    receive,
    reset,
    running,
    wait_until,
)

from headrace.lab.usage import children

SIDE_BY_SIDE = [
    "threads",
    "thread_pool",
    "processes",
    "nonblocking",
    "select_server",
    "poll_server",
    "epoll_level",
    "epoll_edge",
    "selectors_server",
    "signal_driven",
    "aio_server",
    "tiny_event_loop",
]
# Those whose one process, while its table of descriptors is full, has clients it cannot accept.
CAN_BE_FULL = [name for name in SIDE_BY_SIDE if name != "processes"]
# The one asks all the time; in the other, each thread that has no client looks now and then.
NEVER_AT_REST = ("nonblocking", "thread_pool")
CLIENTS = 50
FULL_DESCRIPTORS = 30
MANY_DESCRIPTORS = 1200
OWN_DESCRIPTORS = 4  # the standard ones and the listener
FORK_FAILS_ONCE = """\
import errno, os
fork = os.fork
def fail():
    os.fork = fork
    raise OSError(errno.{number}, os.strerror(errno.{number}))
os.fork = fail
"""
AIOCB = """\
#include <aio.h>
#include <stddef.h>
#include <stdio.h>
#define SIGEVENT(field) offsetof(struct aiocb, aio_sigevent) + offsetof(struct sigevent, field)
int main(void)
{
    printf("%zu %zu %zu %zu %zu %zu %zu %zu %zu %d", offsetof(struct aiocb, aio_fildes),
           offsetof(struct aiocb, aio_lio_opcode), offsetof(struct aiocb, aio_reqprio),
           offsetof(struct aiocb, aio_buf), offsetof(struct aiocb, aio_nbytes),
           SIGEVENT(sigev_value), SIGEVENT(sigev_signo), SIGEVENT(sigev_notify),
           offsetof(struct aiocb, aio_offset), SIGEV_SIGNAL);
    return sizeof(struct aiocb) != 168;
}
"""


def meet_a_crowd(server):
    """Fifty clients at once, ten of which do not read for long, and ten of which vanish."""
    slow = [server.connect_with_little_room() for _ in range(10)]
    vanishing = [server.connect_with_little_room() for _ in range(10)]
    quick = [server.connect() for _ in range(30)]
    with contextlib.ExitStack() as stack:
        for client in slow + vanishing + quick:
            stack.enter_context(client)
        ask_all(slow + vanishing + quick, 100)
        long = [push(client, ("slow", number)) for number, client in enumerate(slow)]
        for client in vanishing[::2]:
            push(client, "vanishing")
        for client in vanishing[1::2]:
            client.send(b"vanishing")
        ask_all(quick, 1)
        for client in vanishing:
            reset(client)
        ask_all(quick, 50_000)
        for client, data in zip(slow, long, strict=True):
            more = payload(100_000, "more")
            assert exchange(client, more, len(data + more)) == (data + more).upper()
        for client in slow + quick:
            leave(client)


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_raw_server_answers_fifty_clients_side_by_side(name):
    with running(name) as server:
        leave(server.connect())  # by when it has all that it needs for itself
        before = server.descriptors()
        meet_a_crowd(server)
        # Nothing of the fifty is left, and it serves on.
        wait_until(lambda: server.descriptors() == before)
        wait_until(lambda: children(server.pid) == [])
        with server.connect() as client:
            ask_all([client], 1000)
            if name != "nonblocking":
                wait_until(server.is_at_rest)


def test_raw_blocking_server_answers_fifty_clients_in_turn():
    with running("blocking") as server:
        clients = [server.connect() for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.sendall(payload(1000, number))
        for number, client in enumerate(clients):
            if number % 10 == 5:  # vanishes while it waits
                reset(client)
                continue
            assert receive(client, 1000) == payload(1000, number).upper()
            # The server waits for this client now, and nobody else has an answer.
            assert select.select(clients[number + 1 :: 10], [], [], 0)[0] == []
            if number % 10 == 7:
                push(client, number)
                reset(client)
            elif number % 10 == 9:
                data = push(client, number)
                assert exchange(client, b"", len(data)) == data.upper()
            client.close()


@pytest.mark.parametrize("name", CAN_BE_FULL)
def test_raw_server_lets_clients_wait_while_it_has_no_descriptor_for_them(name):
    with running(name) as server, contextlib.ExitStack() as stack:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FULL_DESCRIPTORS, FULL_DESCRIPTORS))
        clients = [stack.enter_context(server.connect()) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.sendall(payload(100, number))
        wait_until(lambda: server.descriptors() == FULL_DESCRIPTORS)
        if name not in NEVER_AT_REST:
            wait_until(server.is_at_rest)
        numbers = {client: number for number, client in enumerate(clients)}
        while numbers:
            answered, _, _ = select.select(list(numbers), [], [], PATIENCE_S)
            assert answered, f"{len(numbers)} were forgotten"
            for client in answered:
                assert receive(client, 100) == payload(100, numbers.pop(client)).upper()
                leave(client)


@pytest.mark.parametrize("name", ["blocking", "processes"])
def test_raw_server_of_one_descriptor_for_all_lets_clients_wait_without_it(name):
    with running(name) as server:
        wait_until(server.is_at_rest)  # in accept(), which has its descriptor from then on
        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (OWN_DESCRIPTORS, limit[1]))
        with server.connect() as first:
            ask_all([first], 100)
            leave(first)
        with server.connect() as client:
            client.sendall(b"room?")
            assert select.select([client], [], [], 0.3)[0] == []
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
            assert receive(client, 5) == b"ROOM?"
            leave(client)


@pytest.mark.parametrize("number", ["EAGAIN", "ENOMEM"])
def test_raw_process_server_survives_a_fork_that_fails(number):
    with running("processes", FORK_FAILS_ONCE.format(number=number)) as server:
        with server.connect() as client:
            assert client.recv(1) == b""  # nobody can serve it
        with server.connect() as client:
            ask_all([client], 1000)


@pytest.fixture
def _many_descriptors():
    """More than select can watch, for the clients and for what is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY_DESCRIPTORS:
        pytest.skip(f"the hard limit of RLIMIT_NOFILE is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY_DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_descriptors")
def test_raw_select_server_accepts_nobody_whom_select_cannot_watch():
    with running("select_server") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(1030)]
        wait_until(lambda: server.descriptors() == 1024)
        served, waiting = clients[:1020], clients[1020:]
        for client in waiting:
            client.sendall(b"room?")
        ask_all(served, 10)
        for leaver, client in zip(served, waiting, strict=False):
            poll = select.poll()
            poll.register(client, select.POLLIN)
            assert poll.poll(0) == []  # no answer while there is no room
            leave(leaver)
            assert receive(client, 5) == b"ROOM?"


@pytest.mark.parametrize("limit", [0, 3])
def test_raw_signal_driven_server_loses_nothing_when_its_queue_overflows(limit):
    with running("signal_driven") as server:
        resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, (limit, limit))
        meet_a_crowd(server)


def test_raw_aio_server_closes_whom_no_signal_could_tell_about():
    with running("aio_server") as server:
        limit = resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING)
        resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, (0, limit[1]))
        with server.connect() as client:
            client.sendall(b"lost")
            assert client.recv(1) == b""
        resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, limit)
        with server.connect() as client:
            ask_all([client], 1000)


def test_raw_aio_server_closes_whom_no_signal_could_tell_about_while_others_are_served():
    with running("aio_server") as server, server.connect() as victim, server.connect() as busy:
        ask_all([victim, busy], 10)
        limit = resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING)
        resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, (0, limit[1]))
        victim.sendall(b"lost")
        # glibc's thread has read it, and found no room for the signal.
        wait_until(lambda: server.unread(victim) == 0 and server.all_sleep())
        resource.prlimit(server.pid, resource.RLIMIT_SIGPENDING, limit)
        end = time.monotonic() + PATIENCE_S
        while not select.select([victim], [], [], 0.02)[0]:
            assert time.monotonic() < end, "forgotten as long as somebody else is served"
            ask_all([busy], 10)
        assert victim.recv(1) == b""


def test_raw_aio_server_knows_where_the_fields_of_aiocb_are(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "aiocb.c").write_text(AIOCB)
    subprocess.run(["cc", "-o", tmp_path / "aiocb", tmp_path / "aiocb.c"], check=True)
    found = subprocess.run([tmp_path / "aiocb"], capture_output=True, text=True, check=True)
    # Each one ends where the format up to it does.
    ends = ["i", "ii", "iii", "iiiP", "iiiPn", "iiiPnl", "iiiPnli", "iiiPnlii", "iiiPnlii80xl"]
    sizes = [4, 4, 4, 8, 8, 8, 4, 4, 8]
    offsets = [struct.calcsize(end) - size for end, size in zip(ends, sizes, strict=True)]
    assert [int(word) for word in found.stdout.split()] == [*offsets, 0]
    assert f'"{ends[-1]}32x"' in (RAW / "aio_server.py").read_text()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, ["water"]) for name in ["blocking", *SIDE_BY_SIDE]),
        ("blocking", ["99999"]),
        ("blocking", ["1", "2"]),
        ("blocking", ["1", "2", "3"]),
    ],
)
def test_raw_server_names_a_bad_port_in_one_line(name, arguments):
    command = [sys.executable, str(RAW / f"{name}.py"), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert answer.returncode == 1
    assert answer.stderr.endswith("[PORT]\n")
    assert "int() takes" not in answer.stderr
    assert answer.stderr.count("\n") == 1
