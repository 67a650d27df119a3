"""The echo service: answers the same bytes, in each style of asyncio.

One process per measurement.  One line of JSON says where it listens (port 0 on a Unix socket); its
standard input is the lab's: ``report`` is answered with one line, the end of it ends the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, cast

from loops import lab_service, new_loop, settle_allocator

HOST = "127.0.0.1"
READ_BYTES = 65536
BACKLOG = 4096
LINE_BYTES_MAX = 2**20
RECEIVE_BUFFER_BYTES = 4 * 2**20

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class FlowControl(asyncio.BaseProtocol):
    """A peer that does not read is not read from either."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class EchoProtocol(FlowControl, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEchoProtocol(FlowControl, asyncio.BufferedProtocol):
    """Receives into a buffer of its own; what is written must stay as it is, so it is copied."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))

    def get_buffer(self, size_hint: int) -> memoryview:
        return self.view

    def buffer_updated(self, size: int) -> None:
        self.transport.write(bytes(self.view[:size]))


class DatagramEchoProtocol(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str | Any, int]) -> None:
        self.transport.sendto(data, address)


async def echo_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.readline():
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def echo_socket(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with connection:
        try:
            while data := await loop.sock_recv(connection, READ_BYTES):
                await loop.sock_sendall(connection, data)
        except ConnectionError:
            pass


PROTOCOLS = {"protocol": EchoProtocol, "buffered": BufferedEchoProtocol}
STREAMS: dict[str, StreamHandler] = {"read": echo_read, "readline": echo_lines}
MODES = (*PROTOCOLS, *STREAMS, "sockets", "datagrams")


def report_ready(port: int) -> None:
    print(json.dumps({"port": port}), flush=True)


def port_of(server: asyncio.AbstractServer) -> int:
    name = cast(asyncio.Server, server).sockets[0].getsockname()
    return 0 if isinstance(name, str) else int(name[1])


async def serve_protocol(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    factory = PROTOCOLS[options.mode]
    common: dict[str, Any] = {**backlog_of(options), "ssl": tls_of(options)}
    server: asyncio.AbstractServer
    if options.unix:
        server = await loop.create_unix_server(factory, options.unix, **common)
    else:
        server = await loop.create_server(factory, HOST, 0, **common)
    await serve_until_killed(server)


async def serve_streams(options: argparse.Namespace) -> None:
    module = importlib.import_module(options.streams)
    handler = STREAMS[options.mode]
    common: dict[str, Any] = {**backlog_of(options), "ssl": tls_of(options)}
    if options.mode == "readline":
        common["limit"] = LINE_BYTES_MAX
    if options.unix:
        server = await module.start_unix_server(handler, options.unix, **common)
    else:
        server = await module.start_server(handler, HOST, 0, **common)
    await serve_until_killed(server)


async def serve_until_killed(server: asyncio.AbstractServer) -> None:
    """Not serve_forever(): rloop 0.5 stops to listen when it is called on a running server."""
    report_ready(port_of(server))
    await asyncio.get_running_loop().create_future()


def open_listener(options: argparse.Namespace) -> socket.socket:
    if not options.unix:
        return socket.create_server((HOST, 0), backlog=BACKLOG)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.unix)
    listener.listen(BACKLOG)
    return listener


async def serve_sockets(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with open_listener(options) as listener:
        listener.setblocking(False)
        report_ready(0 if options.unix else listener.getsockname()[1])
        while True:
            connection, _ = await loop.sock_accept(listener)
            if not options.unix:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(echo_socket(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def serve_datagrams(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # All clients may ask at once; what does not fit would be lost.
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER_BYTES)  # SO_RCVBUFFORCE
        sock.bind((HOST, 0))
        sock.setblocking(False)
        port = sock.getsockname()[1]  # some loops take the socket over
        transport, _ = await loop.create_datagram_endpoint(DatagramEchoProtocol, sock=sock)
        report_ready(port)
        await loop.create_future()
        transport.close()


def backlog_of(options: argparse.Namespace) -> dict[str, int]:
    return {} if options.default_backlog else {"backlog": BACKLOG}


def tls_of(options: argparse.Namespace) -> ssl.SSLContext | None:
    if not options.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate)
    return context


async def serve(options: argparse.Namespace, control: Callable[..., object]) -> None:
    control(asyncio.get_running_loop())
    if options.mode in PROTOCOLS:
        await serve_protocol(options)
    elif options.mode in STREAMS:
        await serve_streams(options)
    elif options.mode == "datagrams":
        await serve_datagrams(options)
    else:
        await serve_sockets(options)


def main() -> None:
    parser = argparse.ArgumentParser(prog="echo", description="the echo service")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--mode", choices=MODES, default="protocol")
    parser.add_argument("--unix", metavar="PATH", help="listen on a Unix socket")
    parser.add_argument("--certificate", metavar="PEM", help="certificate and key: speak TLS")
    parser.add_argument("--default-backlog", action="store_true", help="whatever the loop takes")
    parser.add_argument("--streams", default="asyncio", help="the module that has start_server")
    options = parser.parse_args()
    service = lab_service()
    service.die_with_parent()
    settle_allocator()
    with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
        runner.run(serve(options, service.Control))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
