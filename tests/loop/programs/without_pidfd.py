"""Deny pidfd_open, as old containers do, and wait for children; on the model named."""

import asyncio
import errno
import os
import sys
from pathlib import Path

import headrace

sys.path.insert(0, str(Path(__file__).parents[2]))
from deny_io_uring import deny

# The same number on every architecture.
PIDFD_OPEN = 434


async def main():
    try:
        os.pidfd_open(os.getpid())
    except OSError as error:
        refused = errno.errorcode[error.errno]
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    out, _ = await process.communicate(b"x" * 100_000)
    process = await asyncio.create_subprocess_shell("exit 5")
    print(refused, await process.wait(), len(out) == 100_000)


deny(PIDFD_OPEN)
headrace.run(main(), model=sys.argv[1])
