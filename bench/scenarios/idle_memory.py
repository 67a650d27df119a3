"""What an idle connection costs the server: resident bytes each.

This process is the clients, which connect from several addresses of 127/8 and then stay silent.
Resident memory is read before and after, each time after a collection.  Two figures: connected and
never heard of again; and one message there and back first, which makes what a connection needs to
write.  The kernel's own memory is not in them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from headrace.lab.limits import TooManyConnectionsError, raise_descriptor_limit
from headrace.lab.process import ServerProcess, server_process
from headrace.lab.target import ServerFailedError, read_line, wait_ready
from suite.cell import Cell, Failure, Measure, Plan, Sample, Scenario
from suite.contenders import Contender, loops, own_streams
from suite.machine import LOAD_AND_SERVER
from suite.program import python
from suite.station import variables

CONNECTIONS = 9000
CONNECTIONS_QUICK = 2000
CONNECTIONS_PER_ADDRESS = 1500
# How many of them connect at once: within any listen backlog.
CONNECT_BATCH = 500
ANSWER_WAIT_S = 60.0
MESSAGE = b"x" * 64
WARM_UP_MESSAGES = 1000
ROUNDS_MAX = 3
"""Memory hardly varies."""
IP_BIND_ADDRESS_NO_PORT = 24


def idle_cell(mode: str) -> Cell:
    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        count = CONNECTIONS_QUICK if plan.quick else CONNECTIONS
        streams = "headrace" if contender.own_streams else "asyncio"
        words = ["--loop", contender.loop, "--mode", mode, "--streams", streams]
        command = python("idle_server.py", *words)
        yield lambda: Sample(
            {
                "silent_bytes": measure(command, count, echo=False),
                "echo_bytes": measure(command, count, echo=True),
            }
        )

    contenders = loops()
    if mode == "streams":
        contenders[2:2] = own_streams()
    return Cell(
        name=mode,
        prepare=prepare,
        contenders=contenders,
        primary="silent_bytes",
        columns=("silent_bytes", "echo_bytes"),
        quick=True,
        rounds_max=ROUNDS_MAX,
    )


def measure(command: list[str], connections: int, *, echo: bool) -> float:
    """Resident bytes per connection."""
    try:
        raise_descriptor_limit(connections)
        with server_process(command, variables(), LOAD_AND_SERVER, alone=False) as server:
            return weigh(server, connections, echo=echo)
    except (OSError, ServerFailedError, TooManyConnectionsError) as error:
        raise Failure(str(error)) from error


def weigh(server: ServerProcess, connections: int, *, echo: bool) -> float:
    _, port = wait_ready(server)
    # What is made once is not a connection's cost: one connection comes and goes first, with
    # enough messages that every receive buffer of a ring has been touched.
    with connect(port, 0) as first:
        for _ in range(WARM_UP_MESSAGES):
            exchange([first])
        ask_resident_bytes(server, 1)
    before = ask_resident_bytes(server, 0)
    with ExitStack() as stack:
        for start in range(0, connections, CONNECT_BATCH):
            batch = range(start, min(start + CONNECT_BATCH, connections))
            made = [stack.enter_context(connect(port, index)) for index in batch]
            if echo:
                exchange(made)
        after = ask_resident_bytes(server, connections)
    return (after - before) / connections


def ask_resident_bytes(server: ServerProcess, connections: int) -> int:
    assert server.popen.stdin is not None
    server.popen.stdin.write(json.dumps(connections).encode() + b"\n")
    server.popen.stdin.flush()
    return int(read_line(server, ANSWER_WAIT_S)["rss_bytes"])


def connect(port: int, index: int) -> socket.socket:
    sock = socket.socket()
    # The port is chosen at connect(), by the whole address pair, and not by bind().
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((f"127.0.0.{2 + index // CONNECTIONS_PER_ADDRESS}", 0))
    sock.settimeout(ANSWER_WAIT_S)
    sock.connect(("127.0.0.1", port))
    return sock


def exchange(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.sendall(MESSAGE)
    for sock in sockets:
        if sock.recv(len(MESSAGE)) != MESSAGE:
            raise OSError("the server's echo is wrong")


def cells() -> list[Cell]:
    return [idle_cell("protocol"), idle_cell("streams")]


SCENARIO = Scenario("idle_memory", "resident bytes per idle connection", cells)
