"""Thousands of connections and one thread: headrace's loop on epoll as the server.

On epoll, not on the default model, because every Linux has it, and because io_uring's kernel may
lend a process threads, which would have to be told from its own.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass

from headrace.claims import verdicts
from headrace.claims.claim import Finding, Scale, claim
from headrace.claims.measure import resident_bytes
from headrace.claims.sources import (
    NotDecidableError,
    descriptors_granted,
    forked,
    receive_exactly,
)

GROUP = "Many connections"
REQUEST = b"water"
BACKLOG = 4096
THOUSANDS = 2000
SMALLEST = 200
TEN_THOUSAND = 10_000
PATIENCE_S = 20


@dataclass(frozen=True)
class Served:
    """What many clients have seen, and what the server was meanwhile."""

    connections: int
    right: int
    threads: int
    bytes_each: float
    taken_s: float


def serve(listener: socket.socket) -> None:
    import headrace

    class Upper(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            Upper, sock=listener, backlog=BACKLOG
        )
        await server.serve_forever()

    headrace.run(run(), model="epoll")


def ask_many(count: int, requests: int) -> Served:
    """So many connections, open all at once; then each asks, and again."""
    if descriptors_granted(count) < count:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise NotDecidableError(f"{count:,} connections need more than ulimit -Hn {hard:,}")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
        address = listener.getsockname()
        pid = stack.enter_context(forked(lambda: serve(listener)))
        clients: list[socket.socket] = [connected(stack, address)]
        ask(clients)
        start, before = time.monotonic(), resident_bytes(pid)
        clients += [connected(stack, address) for _ in range(count - 1)]
        right = sum(ask(clients) for _ in range(requests))
        taken_s = time.monotonic() - start
        threads = len(os.listdir(f"/proc/{pid}/task"))
        each = (resident_bytes(pid) - before) / count
    return Served(count, right, threads, each, taken_s)


def connected(stack: ExitStack, address: tuple[str, int]) -> socket.socket:
    client = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
    # Reset at the end: thousands of ports in TIME_WAIT would be missing to the next experiment.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return client


def ask(clients: list[socket.socket]) -> int:
    """One request on each, all outstanding at once; answers how many replies were right."""
    for client in clients:
        client.sendall(REQUEST)
    return sum(receive_exactly(client, len(REQUEST)) == REQUEST.upper() for client in clients)


def found(served: Served, requests: int) -> Finding:
    number = (
        f"{served.right:,} of {served.connections * requests:,} replies right,"
        f" {served.connections:,} connections at once, {served.threads} thread,"
        f" {served.bytes_each / 1024:.1f} KiB each"
    )
    figures = {
        "connections": served.connections,
        "replies_right": served.right,
        "threads": served.threads,
        "server_bytes_each": served.bytes_each,
        "taken_s": served.taken_s,
    }
    is_so = served.right == served.connections * requests and served.threads == 1
    return Finding(verdicts.counted(is_so), number, figures)


@claim(
    "one-thread-thousands", 2, 1,
    sentence="在异步IO模型下，一个线程就可以同时处理多个IO请求，并且没有切换线程的操作",
    english="One thread handles many requests at once, without switching threads",
    reading="All connections have a request outstanding at once; every reply is compared. Memory"
    " is the server process's own; the kernel's sockets come on top.",
)  # fmt: skip
def one_thread_thousands(scale: Scale) -> Finding:
    count = SMALLEST if scale.name == "smallest" else THOUSANDS
    return found(ask_many(count, 3), 3)


@claim(
    "c10k", 2,
    sentence="让单台服务器同时为1万个客户端提供FTP服务",
    english="C10K: let one server serve FTP to ten thousand clients at the same time",
    reading="10,000 TCP connections over loopback to one thread, each with a request outstanding"
    " at once. Small replies: FTP's files, a slow network and a 1 GHz processor are not part of"
    " it.",
)  # fmt: skip
def c10k(scale: Scale) -> Finding:
    count = SMALLEST if scale.name == "smallest" else TEN_THOUSAND
    return found(ask_many(count, 1), 1)
