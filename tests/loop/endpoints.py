"""What the tests of datagram endpoints share: a protocol that writes down what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

UDP_BYTES_MAX = 65507
IPV4 = ("127.0.0.1", 0)


class Recorder(asyncio.DatagramProtocol):
    """Writes down what it is told; `wait` waits until that is enough."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.told: list[str] = []
        self.lost = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))
        self._changed.set()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self._changed.set()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(exc)

    async def wait(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.received]


async def close(*endpoints: tuple[Any, Recorder]) -> None:
    for transport, _ in endpoints:
        transport.close()
    for _, protocol in endpoints:
        assert await protocol.lost is None
        assert protocol.told[-1] == "lost"


async def endpoint(protocol: type[Recorder] = Recorder, **arguments: Any) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().create_datagram_endpoint(protocol, **arguments)


def name_of(made: tuple[Any, Recorder]) -> Any:
    return made[0].get_extra_info("sockname")


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
