"""What the asyncio programs of this suite share: protocols that write down what they are told."""

import asyncio
import os

LARGE = os.urandom(2_000_000)


class Recorder(asyncio.Protocol):
    """Writes down every callback, and checks that they come in asyncio's order."""

    def __init__(self):
        self.events = []
        self.data = b""
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()
        self.is_paused = False
        self.wanted = None

    def connection_made(self, transport):
        assert self.events == []
        self.events.append("made")
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes
        assert data
        assert not self.is_paused, "data_received() after pause_reading()"
        assert "eof" not in self.events
        assert "lost" not in self.events
        self.data += data
        if self.wanted is not None and len(self.data) >= self.wanted[0]:
            self.wanted[1].set_result(None)
            self.wanted = None

    def eof_received(self):
        assert "eof" not in self.events
        self.events.append("eof")

    def pause_writing(self):
        assert self.events[-1] != "pause"
        self.events.append("pause")

    def resume_writing(self):
        assert "pause" in self.events
        self.events.append("resume")

    def connection_lost(self, error):
        assert "lost" not in self.events, "connection_lost() twice"
        self.events.append("lost")
        self.error = error
        self.lost.set_result(None)

    async def received(self, count):
        if len(self.data) < count:
            self.wanted = (count, asyncio.get_running_loop().create_future())
            await self.wanted[1]
        return self.data


class StreamRecorder(Recorder):
    def __init__(self):
        super().__init__()
        self.keep_open = False
        self.ended = asyncio.get_running_loop().create_future()

    def eof_received(self):
        super().eof_received()
        self.ended.set_result(None)
        return self.keep_open


async def connect(sock, protocol=StreamRecorder):
    _, made = await asyncio.get_running_loop().create_connection(protocol, sock=sock)
    return made


async def ends(sockets, kind="tcp_pair"):
    """Two connected protocols."""
    left, right = getattr(sockets, kind)()
    return await connect(left), await connect(right)


async def close(*protocols):
    for protocol in protocols:
        protocol.transport.close()
    for protocol in protocols:
        await protocol.lost


async def receive_all(sock):
    """What comes on a plain socket until its end."""
    loop = asyncio.get_running_loop()
    data = b""
    while piece := await loop.sock_recv(sock, 1 << 20):
        data += piece
    return data


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0)
