"""A server that runs out of descriptors and recovers.  Prints what it saw as one JSON object.

    limited_server.py MODEL

Its clients live in the same process, and hold half of the descriptors.
"""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys

import headrace

DESCRIPTORS = 64
ESTABLISHED = 5
# The pause between two tries of a starved listener.
asyncio.constants.ACCEPT_RETRY_DELAY = 0.02

complaints = []


class Echo(asyncio.Protocol):
    made = 0
    lost = 0

    def connection_made(self, transport):
        Echo.made += 1
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, error):
        Echo.lost += 1


async def echoes(sock):
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"hello")
    return await loop.sock_recv(sock, 100) == b"hello"


async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:

        def connect():
            sock = stack.enter_context(socket.create_connection(address))
            sock.setblocking(False)
            return sock

        established = [connect() for _ in range(ESTABLISHED)]
        assert all([await echoes(sock) for sock in established])
        waiting = [socket.socket() for _ in range(10)]
        hoard = []
        with contextlib.suppress(OSError):
            while True:
                hoard.append(os.dup(0))
        for sock in waiting:
            stack.enter_context(sock).setblocking(False)
            await loop.sock_connect(sock, address)
        while not complaints:
            await asyncio.sleep(0)
        # Several more tries of the listener, all in vain.
        tries = loop.statistics()["operations"]["accept"]
        while loop.statistics()["operations"]["accept"] < tries + 3:
            await asyncio.sleep(0.01)
        during = [await echoes(sock) for sock in established]
        made_during = Echo.made
        complaints_during = len(complaints)
        for fd in hoard:
            os.close(fd)
        after = [await echoes(sock) for sock in [*waiting, *established]]
        lost = Echo.lost
        serving = server.is_serving()
    server.close()
    await server.wait_closed()
    while Echo.lost < Echo.made:
        await asyncio.sleep(0)
    return {
        "during": during,
        "after": after,
        "made_during": made_during,
        "lost": lost,
        "serving": serving,
        "complaints_during": complaints_during,
        "complaints": [
            {"message": entry["message"], "error": repr(entry["exception"])} for entry in complaints
        ],
    }


resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
print(json.dumps(headrace.run(main(), model=sys.argv[1])))
