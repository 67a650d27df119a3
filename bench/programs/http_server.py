"""Three HTTP services, each answering a short text: a protocol of twenty lines, aiohttp, uvicorn.

``close`` is the first of them with a connection for each request: what accepting costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from loops import lab_service, new_loop, settle_allocator

HOST = "127.0.0.1"
BACKLOG = 4096
BODY = b'{"hello":"world"}'
HEAD_END = b"\r\n\r\n"
APPLICATIONS = str(Path(__file__).parents[1] / "apps")


def reply(connection: str) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\nConnection: {connection}\r\n\r\n"
    )
    return head.encode() + BODY


class MinimalProtocol(asyncio.Protocol):
    """Answers each end of a head; requests have no body here."""

    transport: asyncio.Transport
    answer = reply("keep-alive")
    closes = False

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        count = self.received.count(HEAD_END)
        if count:
            self.received = self.received.rpartition(HEAD_END)[2]
            self.transport.write(self.answer * count)
            if self.closes:
                self.transport.close()


class ClosingProtocol(MinimalProtocol):
    answer = reply("close")
    closes = True


def report_ready(port: int) -> None:
    print(json.dumps({"port": port}), flush=True)


# The loops listen by themselves: a socket that was made for them without IPPROTO_TCP would go
# without TCP_NODELAY on some, and then each reply of two parts would wait 40 ms.


async def serve_protocol(factory: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, HOST, 0, backlog=BACKLOG)
    report_ready(server.sockets[0].getsockname()[1])
    await loop.create_future()


async def serve_aiohttp() -> None:
    from aiohttp import web
    from aiohttp_application import application

    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=BACKLOG).start()
    report_ready(runner.addresses[0][1])
    await asyncio.get_running_loop().create_future()


async def serve_uvicorn() -> None:
    import uvicorn
    from starlette_application import application

    config = uvicorn.Config(
        application, HOST, 0, log_level="warning", access_log=False, backlog=BACKLOG
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        report_ready(server.servers[0].sockets[0].getsockname()[1])
    await serving


APPS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "minimal": lambda: serve_protocol(MinimalProtocol),
    "close": lambda: serve_protocol(ClosingProtocol),
    "aiohttp": serve_aiohttp,
    "uvicorn": serve_uvicorn,
}


async def serve(app: str, control: Callable[..., object]) -> None:
    control(asyncio.get_running_loop())
    await APPS[app]()


def main() -> None:
    parser = argparse.ArgumentParser(prog="http_server", description="one HTTP service")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--app", choices=APPS, default="minimal")
    options = parser.parse_args()
    sys.path.append(APPLICATIONS)
    service = lab_service()
    service.die_with_parent()
    settle_allocator()
    with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
        runner.run(serve(options.app, service.Control))


if __name__ == "__main__":
    main()
