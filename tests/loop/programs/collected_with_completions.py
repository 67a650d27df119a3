"""Collect a loop whose close() nobody reached, with received pieces still waiting for their turn.

    collected_with_completions.py MODEL

Warnings are errors here, so that asyncio's finalizer of the loop ends before it closes it.
"""

import asyncio
import contextlib
import gc
import socket
import sys
import warnings

import headrace

warnings.simplefilter("error")
sys.unraisablehook = lambda unraisable: None
gc.disable()


class Interrupting(asyncio.Protocol):
    def data_received(self, data):
        raise KeyboardInterrupt


async def connected(loop, pairs):
    transports = [
        (await loop.create_connection(Interrupting, sock=near))[0] for near, _ in pairs[1:]
    ]
    receiving = loop.create_task(loop.sock_recv(pairs[0][0], 10))
    await asyncio.sleep(0)
    return transports, receiving


def interrupted():
    """Everything that belongs to a loop that was left in the middle of a turn."""
    loop = headrace.new_event_loop(sys.argv[1])
    pairs = [socket.socketpair() for _ in range(4)]
    for near, _ in pairs:
        near.setblocking(False)
    belongings = loop.run_until_complete(connected(loop, pairs))
    for _, far in pairs:
        far.send(bytes(100))
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_forever()
    return [loop, *belongings, pairs]


left = interrupted()
gc.collect()  # which moves what is alive: the next one clears in another order
del left
gc.collect()
print("alive")
