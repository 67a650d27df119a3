"""The traced server: the upper-case service for one connection, on a model that keeps stamps.

    python -m headrace.trace.service MODEL

It writes a line of JSON with its port, serves one connection to its end, and writes another line
with all stamps.  No thread of its own: every thread that strace sees is the model's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, cast

import headrace
from headrace.lab.stopping import die_with_parent
from headrace.models.registry import make_model
from headrace.trace.stamping import Stamps, stamped

HOST = "127.0.0.1"


class StampedUpper(asyncio.Protocol):
    """The upper-case service, which notes when it is told."""

    def __init__(self, stamps: Stamps, ended: asyncio.Future[dict[str, Any]]) -> None:
        self.stamps = stamps
        self.ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.fd = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        start_ns = time.monotonic_ns()
        self.transport.write(data.upper())
        self.stamps.tell(start_ns, len(data))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result({"fd": self.fd, "duplicates": duplicates_of(self.fd)})


def duplicates_of(fd: int) -> list[int]:
    """Other descriptors of this process for the same socket."""
    own = os.readlink(f"/proc/self/fd/{fd}")
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(entry) != fd and os.readlink(f"/proc/self/fd/{entry}") == own:
                found.append(int(entry))
    return found


async def serve(stamps: Stamps) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[dict[str, Any]] = loop.create_future()
    server = await loop.create_server(lambda: StampedUpper(stamps, ended), HOST, 0)
    say({"port": server.sockets[0].getsockname()[1], "thread": threading.get_native_id()})
    found = await ended
    server.close()
    say(found | {name: value for name, value in asdict(stamps).items() if name != "is_waiting"})


def say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def main(words: list[str]) -> None:
    (name,) = words
    die_with_parent()
    stamps = Stamps()
    model = stamped(make_model(name), stamps)
    with asyncio.Runner(loop_factory=lambda: headrace.EventLoop(model)) as runner:
        runner.run(serve(stamps))


if __name__ == "__main__":
    main(sys.argv[1:])
