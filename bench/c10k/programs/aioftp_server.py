"""aioftp on uvloop in the C10K box: processes that share the port with SO_REUSEPORT."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import aioftp
import uvloop

BACKLOG = 65535
BLOCK_BYTES = 64 * 1024
"""Its default of 8 KiB reads a file in eight times as many steps."""


async def serve(host: str, port: int, directory: str) -> None:
    read_only = [aioftp.Permission("/", readable=True, writable=False)]
    user = aioftp.User(base_path=directory, permissions=read_only)
    server = aioftp.Server([user], block_size=BLOCK_BYTES)
    await server.start(host, port, reuse_port=True, backlog=BACKLOG)
    await asyncio.Event().wait()


def main() -> None:
    host, port, directory, workers = sys.argv[1:]
    logging.disable(logging.ERROR)
    for _ in range(int(workers) - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(host, int(port), directory))


if __name__ == "__main__":
    main()
