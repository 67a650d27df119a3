"""Ctrl-C, as a terminal sends it to the whole group, while a child runs; on the loop named."""

import asyncio
import os
import signal
import sys

import headrace

name = sys.argv[1]


async def main():
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-c",
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL); print('ready', flush=True); time.sleep(100)",
        stdout=asyncio.subprocess.PIPE,
    )
    await child.stdout.readline()
    asyncio.get_running_loop().call_soon(os.killpg, 0, signal.SIGINT)
    try:
        await child.wait()
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("interrupted", await child.wait())
        raise


os.setpgid(0, 0)
factory = asyncio.new_event_loop if name == "asyncio" else lambda: headrace.new_event_loop(name)
with asyncio.Runner(loop_factory=factory) as runner:
    try:
        runner.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
sys.exit("no KeyboardInterrupt")
