"""A listener out of descriptors, or beyond its model's reach, refuses and recovers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import socket

import pytest

from headrace.loop.event_loop import somaxconn

FD_SETSIZE = 1024


def test_listener_out_of_descriptors_says_so_once_and_recovers(model, run_program):
    ended = run_program("limited_server.py", model)
    assert ended.stderr == ""
    seen = json.loads(ended.stdout)
    assert seen["during"] == [True] * 5
    assert seen["after"] == [True] * 15
    assert seen["made_during"] == 5
    assert seen["lost"] == 0
    assert seen["serving"]
    assert seen["complaints_during"] == 1
    assert len(seen["complaints"]) == 1
    (complaint,) = seen["complaints"]
    assert complaint["message"] == "socket.accept() out of system resource"
    assert os.strerror(errno.EMFILE) in complaint["error"]


@pytest.fixture
def hoarded_descriptors():
    """Take all descriptors below select's limit; a callable that gives them back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 2 * FD_SETSIZE), before[1]))
    hoard = []

    def take():
        while not hoard or hoard[-1] < FD_SETSIZE:
            hoard.append(os.dup(0))

    def give_back():
        for fd in hoard:
            os.close(fd)
        hoard.clear()

    yield take, give_back
    give_back()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("model", ["select"])
def test_select_refuses_connections_beyond_its_limit_and_goes_on(
    headrace_loop, headrace_run, bystander, complaints, hoarded_descriptors
):
    take, give_back = hoarded_descriptors

    async def main():
        async with bystander():
            server = await headrace_loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            take()
            with socket.create_connection(address, timeout=5) as refused:
                while not complaints:
                    await asyncio.sleep(0)
                with contextlib.suppress(ConnectionResetError):
                    assert refused.recv(100) == b""
            give_back()
            reader, writer = await asyncio.open_connection(*address)
            writer.close()
            assert await reader.read() == b""
            server.close()
            await server.wait_closed()

    headrace_run(main())
    (complaint,) = complaints
    assert complaint["message"] == "Connection refused"
    text = str(complaint["exception"])
    assert "select" in text
    assert "limit is 1023" in text
    complaints.clear()


@pytest.mark.parametrize("model", ["select"])
def test_select_refuses_operations_beyond_its_limit_with_a_clear_error(
    headrace_loop, headrace_run, bystander, hoarded_descriptors
):
    take, give_back = hoarded_descriptors
    clear = pytest.raises(OSError, match=r"select cannot watch descriptor \d+: its limit is 1023")

    async def main():
        async with bystander():
            take()
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                with clear:
                    headrace_loop.add_reader(near, print)
                with clear:
                    headrace_loop.add_writer(near, print)
                with clear:
                    await headrace_loop.sock_recv(near, 100)
            with socket.create_server(("127.0.0.1", 0)) as listening:
                listening.setblocking(False)
                with clear:
                    await headrace_loop.sock_accept(listening)
                with clear:
                    await headrace_loop.create_connection(
                        asyncio.Protocol, *listening.getsockname()
                    )
                with clear:
                    await headrace_loop.create_server(asyncio.Protocol, sock=listening)
            give_back()

    headrace_run(main())
    assert headrace_loop._operations_in_flight() == []


def test_default_backlog_is_the_systems_longest(headrace_loop, headrace_run, monkeypatch):
    asked = []
    listen = socket.socket.listen
    monkeypatch.setattr(
        socket.socket,
        "listen",
        lambda sock, backlog: (asked.append(backlog), listen(sock, backlog)),
    )

    async def main():
        for options in ({}, {"backlog": 7}):
            server = await headrace_loop.create_server(asyncio.Protocol, "127.0.0.1", 0, **options)
            server.close()
            await server.wait_closed()

    headrace_run(main())
    assert asked == [somaxconn(), 7]
    assert somaxconn() >= 128
