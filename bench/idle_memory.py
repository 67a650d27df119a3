"""What an idle connection costs the server: resident bytes each, per loop.

    python bench/idle_memory.py [--connections 9000] [--loops uring,epoll,asyncio] [--repeat 3]

The server runs in a process of its own, with an ordinary asyncio.Protocol per connection; this
process is the clients, which connect from several addresses of 127/8 (one address has 28,232
ports here) and then stay silent.  Resident memory is read before and after, each time after a
collection.  Two figures: `silent`, connected and never heard of again; `after echo`, one message
there and back first, which makes what a connection needs to write.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

LOOPS = ("uring", "epoll", "asyncio", "uvloop", "rloop")
BAR_BYTES = 900
CONNECTIONS_PER_ADDRESS = 1500
# How many of them connect at once: within any listen backlog.
CONNECT_BATCH = 500
ANSWER_WAIT_S = 60.0
MESSAGE = b"x" * 64
WARM_UP_MESSAGES = 1000


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    if name in ("uvloop", "rloop"):
        factory: Callable[[], asyncio.AbstractEventLoop] = __import__(name).new_event_loop
        return factory
    import headrace

    return lambda: headrace.new_event_loop(name)


def has_loop(name: str) -> bool:
    try:
        loop_factory(name)().close()
    except (ImportError, RuntimeError, ValueError):
        return False
    return True


def raise_descriptor_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# The server: answers one line of JSON for each line on its standard input.


class Echo(asyncio.Protocol):
    count = 0
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, so nothing is asserted.
        self.transport = cast(asyncio.Transport, transport)
        Echo.count += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        Echo.count -= 1


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    # sys.stdin would read ahead; one command at a time is all that ever stands there.
    loop.add_reader(0, lambda: lines.put_nowait(os.read(0, 100)))
    while command := await lines.get():
        wanted = int(command)
        while Echo.count != wanted:
            await asyncio.sleep(0.01)
        gc.collect()
        print(json.dumps({"rss_bytes": resident_bytes(), "count": Echo.count}), flush=True)
    server.close()


def resident_bytes() -> int:
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss in smaps_rollup")


def run_server(name: str) -> None:
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        runner.run(serve())


# The clients.


@contextlib.contextmanager
def started_server(name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(ANSWER_WAIT_S)
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], ANSWER_WAIT_S)[0]:
        raise TimeoutError(f"the server did not answer within {ANSWER_WAIT_S} s")
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def ask_resident_bytes(process: subprocess.Popen[str], connections: int) -> int:
    assert process.stdin is not None
    process.stdin.write(f"{connections}\n")
    process.stdin.flush()
    rss_bytes: int = answer(process)["rss_bytes"]
    return rss_bytes


def connect(port: int, index: int) -> socket.socket:
    sock = socket.socket()
    # The port is chosen at connect(), by the whole address pair, and not by bind().
    sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    sock.bind((f"127.0.0.{2 + index // CONNECTIONS_PER_ADDRESS}", 0))
    sock.connect(("127.0.0.1", port))
    return sock


def exchange(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.sendall(MESSAGE)
    for sock in sockets:
        sock.settimeout(ANSWER_WAIT_S)
        if sock.recv(len(MESSAGE)) != MESSAGE:
            raise RuntimeError("the server's echo is wrong")


def measure(name: str, connections: int, *, echo: bool) -> float:
    """Resident bytes per connection."""
    sockets: list[socket.socket] = []
    with started_server(name) as process, contextlib.ExitStack() as stack:
        port = answer(process)["port"]
        # What is made once is not a connection's cost: one connection comes and goes first, with
        # enough messages that every receive buffer of a ring has been touched.
        with connect(port, 0) as first:
            for _ in range(WARM_UP_MESSAGES):
                exchange([first])
            ask_resident_bytes(process, 1)
        before = ask_resident_bytes(process, 0)
        for start in range(0, connections, CONNECT_BATCH):
            batch = range(start, min(start + CONNECT_BATCH, connections))
            made = [stack.enter_context(connect(port, index)) for index in batch]
            if echo:
                exchange(made)
            sockets += made
        after = ask_resident_bytes(process, connections)
    return (after - before) / connections


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=9000)
    parser.add_argument("--loops", default=",".join(LOOPS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if options.serve:
        run_server(options.serve)
        return 0
    hard = raise_descriptor_limit()
    if hard < options.connections + 100:
        sys.exit(f"RLIMIT_NOFILE is {hard}: too low for {options.connections} connections")
    names = [name for name in options.loops.split(",") if has_loop(name)]
    rounds: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.repeat):
        for name in names:
            for echo in (False, True):
                rounds.setdefault((name, echo), []).append(
                    measure(name, options.connections, echo=echo)
                )
    print(f"{options.connections} idle connections, bytes of RSS each (lowest-highest of rounds)")
    print(f"{'loop':<10} {'silent':>22} {'after echo':>22}")
    above = False
    for name in names:
        cells = [cell(rounds[name, echo]) for echo in (False, True)]
        print(f"{name:<10} {cells[0]:>22} {cells[1]:>22}")
        if name in ("uring", "epoll"):
            above |= statistics.median(rounds[name, False]) > BAR_BYTES
    print(f"bar: {BAR_BYTES} on uring and epoll, silent: {'MISSED' if above else 'met'}")
    return int(above)


def cell(figures: list[float]) -> str:
    return f"{statistics.median(figures):.0f} ({min(figures):.0f}-{max(figures):.0f})"


if __name__ == "__main__":
    sys.exit(main())
