"""A receiver whose disk is full, and sendfile() from that disk: full_disk.py MODEL FOLDER.

FOLDER is a file system of 64 KiB.  Prints what came of it, as JSON.
"""

from __future__ import annotations

import asyncio
import errno
import json
import sys
from pathlib import Path

import headrace

UPLOAD = bytes(range(256)) * 1000
SPARSE_BYTES = 1024 * 1024


async def receive_to_disk(path, answers):
    """Each connection's upload goes to *path* by way of the executor; it is told how that went."""

    async def answer(reader, writer):
        data = await reader.readexactly(len(UPLOAD))
        try:
            await asyncio.get_running_loop().run_in_executor(None, path.write_bytes, data)
        except OSError as error:
            answers["error"] = errno.errorcode[error.errno]
        answers["received_all"] = data == UPLOAD
        # The connection is not the disk's: what comes now must still arrive, both ways.
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(UPLOAD)
    await writer.drain()
    writer.write(b"still there?\n")
    answers["echo"] = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def send_from_disk(path):
    """What the peer of a transport gets of the file at *path*, by sendfile()."""

    async def send(reader, writer):
        with open(path, "rb") as file:
            await asyncio.get_running_loop().sendfile(writer.transport, file, fallback=False)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(send, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return received


async def main(folder):
    answers = {}
    upload, sparse = folder / "upload", folder / "sparse"
    sparse.touch()  # a full disk has no room for another name, but for a larger number
    await receive_to_disk(upload, answers)
    kept = upload.read_bytes()
    answers["disk_is_full"] = 0 < len(kept) < len(UPLOAD)
    answers["sent_what_is_there"] = await send_from_disk(upload) == kept
    with open(sparse, "r+b") as file:
        file.truncate(SPARSE_BYTES)
    answers["sent_the_holes"] = await send_from_disk(sparse) == bytes(SPARSE_BYTES)
    print(json.dumps(answers))


headrace.run(main(Path(sys.argv[2])), model=sys.argv[1])
