"""The server of idle connections: holds them, and says what it weighs.

It answers one line of JSON for each line on its standard input: how many connections there shall
be, and then how many bytes are resident, after a collection.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import os
import resource
from typing import cast

from loops import lab_service, new_loop

HOST = "127.0.0.1"
BACKLOG = 4096
READ_BYTES = 65536
LOOK_S = 0.01


class Count:
    """The connections there are now."""

    now = 0


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, so nothing is asserted.
        self.transport = cast(asyncio.Transport, transport)
        Count.now += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        Count.now -= 1


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    Count.now += 1
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        Count.now -= 1
        writer.close()


async def start_server(mode: str, streams: str) -> asyncio.Server:
    if mode == "protocol":
        loop = asyncio.get_running_loop()
        return await loop.create_server(Echo, HOST, 0, backlog=BACKLOG)
    module = importlib.import_module(streams)
    return cast(asyncio.Server, await module.start_server(echo, HOST, 0, backlog=BACKLOG))


async def serve(mode: str, streams: str) -> None:
    server = await start_server(mode, streams)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    # sys.stdin would read ahead; one command at a time is all that ever stands there.
    asyncio.get_running_loop().add_reader(0, lambda: lines.put_nowait(os.read(0, 100)))
    while command := await lines.get():
        while Count.now != int(command):
            await asyncio.sleep(LOOK_S)
        gc.collect()
        print(json.dumps({"rss_bytes": resident_bytes()}), flush=True)


def resident_bytes() -> int:
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss in smaps_rollup")


def main() -> None:
    parser = argparse.ArgumentParser(prog="idle_server", description="holds connections")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--mode", choices=("protocol", "streams"), default="protocol")
    parser.add_argument("--streams", default="asyncio", help="the module that has start_server")
    options = parser.parse_args()
    lab_service().die_with_parent()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
        runner.run(serve(options.mode, options.streams))


if __name__ == "__main__":
    main()
