"""The upper-case service: replies the upper case of what it got, in three styles of asyncio.

It runs as a program of its own, one process per measurement. It is started by its path and
imports nothing of headrace unless a headrace model is asked for: so a peer's memory is the peer's.
One line of JSON on standard output says which port it listens on; the line ``report`` on standard
input is answered with one more; the end of standard input ends the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

HOST = "127.0.0.1"
READ_BYTES = 65536
BACKLOG = 4096
MODES = ("protocol", "streams", "sockets")
PR_SET_PDEATHSIG = 1


class UpperProtocol(asyncio.Protocol):
    """Style one: callbacks. A peer that does not read is not read from either."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def upper_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Style two: streams."""
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data.upper())
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def upper_socket(connection: socket.socket) -> None:
    """Style three: the loop's socket methods."""
    loop = asyncio.get_running_loop()
    with connection:
        try:
            while data := await loop.sock_recv(connection, READ_BYTES):
                await loop.sock_sendall(connection, data.upper())
        except ConnectionError:
            pass


def report_ready(listener: socket.socket) -> None:
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)


async def serve_until_killed(server: asyncio.Server) -> None:
    """Not serve_forever(): rloop 0.5 stops to listen when it is called on a running server."""
    assert server.is_serving()
    await asyncio.get_running_loop().create_future()


async def serve_protocol() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(UpperProtocol, HOST, 0, backlog=BACKLOG)
    report_ready(server.sockets[0])
    await serve_until_killed(server)


async def serve_streams() -> None:
    server = await asyncio.start_server(upper_stream, HOST, 0, backlog=BACKLOG)
    report_ready(server.sockets[0])
    await serve_until_killed(server)


async def serve_sockets() -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server((HOST, 0), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        report_ready(listener)
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(upper_socket(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


SERVE: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "protocol": serve_protocol,
    "streams": serve_streams,
    "sockets": serve_sockets,
}


class Control:
    """Answers the runner's questions, from a thread that sleeps between them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.exceptions = 0
        self.first_exception: str | None = None
        loop.set_exception_handler(self.note_exception)
        threading.Thread(target=self.answer_until_end, name="control", daemon=True).start()

    def note_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.exceptions += 1
        if self.first_exception is None:
            error = context.get("exception")
            self.first_exception = str(error or context.get("message") or type(error).__name__)

    def report(self) -> dict[str, Any]:
        statistics = getattr(self.loop, "statistics", None)
        return {
            "statistics": statistics() if statistics else None,
            "exceptions": self.exceptions,
            "first_exception": self.first_exception,
        }

    def answer_until_end(self) -> None:
        for line in sys.stdin:
            if line.strip() == "report":
                print(json.dumps(self.report(), default=str), flush=True)
        os._exit(0)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """The loop of a peer by its module's name, or ``headrace:MODEL``."""
    module, _, model = name.partition(":")
    factory = importlib.import_module(module).new_event_loop
    return cast(asyncio.AbstractEventLoop, factory(model) if model else factory())


async def serve(mode: str) -> None:
    Control(asyncio.get_running_loop())
    await SERVE[mode]()


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="service", description="the upper-case service")
    parser.add_argument("--loop", default="asyncio", help="module, or headrace:MODEL")
    parser.add_argument("--mode", choices=MODES, default="protocol")
    arguments = parser.parse_args(argv)
    die_with_parent()
    with asyncio.Runner(loop_factory=lambda: new_loop(arguments.loop)) as runner:
        runner.run(serve(arguments.mode))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
