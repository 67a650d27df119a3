"""Random connections for a while, on each model: every byte checked, nothing left over.

    python bench/stress.py [--seconds 20] [--models uring,epoll] [--seed N]

A server that echoes through pauses, over plain TCP and TLS; clients that come with random sizes,
half-close, pause, and abort in the middle.  What is echoed must be what was sent, to the last
byte where nobody aborted.  Descriptors must be as many after as before, nothing may be in
flight, nothing may reach the exception handler; the resident size is printed for the eye and
must not keep growing.  A failure prints its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import headrace

CLIENTS = 20
MESSAGE_BYTES_MAX = 2_000_000
CONNECTION_WAIT_S_MAX = 10.0
# What a run may leave in the allocator's and the interpreter's caches after its first quarter.
GROWTH_BYTES_MAX = 24 * 1024 * 1024


class PausingEcho(asyncio.Protocol):
    """Echoes, pauses reading while it may not write, and now and then for no reason."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.blocked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.chance.random() < 0.3:
            high = self.chance.choice([0, 1, 1000, 100_000])
            self.transport.set_write_buffer_limits(high)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        if self.chance.random() < 0.1 and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self.chance.random() / 200, self.resume)

    def pause_writing(self) -> None:
        self.blocked = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.blocked = False
        self.resume()

    def resume(self) -> None:
        if not self.blocked and not self.transport.is_closing():
            self.transport.resume_reading()


class PlainEcho(asyncio.Protocol):
    """For TLS: CPython's sslproto stalls, on asyncio's own loop too, when reading is paused."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Totals:
    connections = 0
    aborted = 0
    bytes_checked = 0


async def exchange(
    port: int, tls: ssl.SSLContext | None, chance: random.Random, totals: Totals
) -> None:
    """One connection: send a random message in random pieces, compare what comes back."""
    options: dict[str, Any] = {"ssl": tls, "server_hostname": "localhost"} if tls else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    message = chance.randbytes(int(chance.random() ** 4 * MESSAGE_BYTES_MAX))
    abort_at = chance.randrange(len(message) + 1) if chance.random() < 0.2 else None
    sending = asyncio.create_task(send(writer, message, abort_at, chance, half_close=tls is None))
    received = 0
    try:
        while received < len(message):
            data = await reader.read(chance.choice([10, 1000, 100_000]))
            if not data:
                break
            if data != message[received : received + len(data)]:
                raise AssertionError(f"wrong bytes at {received} of {len(message)}")
            received += len(data)
            if chance.random() < 0.02:
                await asyncio.sleep(chance.random() / 500)
        if abort_at is None and received != len(message):
            raise AssertionError(f"{received} bytes of {len(message)} came back")
    except ConnectionError:
        if abort_at is None:
            raise
    finally:
        await asyncio.gather(sending, return_exceptions=abort_at is not None)
        writer.close()
        # After an abort, how the stream ends is not what is tested here.
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    totals.connections += 1
    totals.aborted += abort_at is not None
    totals.bytes_checked += received


async def send(
    writer: asyncio.StreamWriter,
    message: bytes,
    abort_at: int | None,
    chance: random.Random,
    *,
    half_close: bool,
) -> None:
    position = 0
    while position < len(message):
        if abort_at is not None and position >= abort_at:
            break
        step = chance.choice([1, 100, 10_000, 300_000])
        writer.write(message[position : position + step])
        position += step
        await writer.drain()
    if abort_at is not None:
        writer.transport.abort()
    elif half_close and chance.random() < 0.5:
        writer.write_eof()


async def client(
    ports: dict[bool, int], tls: ssl.SSLContext, end: float, seed: str, totals: Totals
) -> None:
    chance = random.Random(seed)
    while time.monotonic() < end:
        use_tls = chance.random() < 0.3
        await asyncio.wait_for(
            exchange(ports[use_tls], tls if use_tls else None, chance, totals),
            CONNECTION_WAIT_S_MAX,
        )


async def stress(
    certificate: Path, seconds: float, seed: int, totals: Totals, complaints: list[Any]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate)
    client_tls = ssl.create_default_context(cafile=certificate)
    chance = random.Random(seed)
    servers = {
        use_tls: await loop.create_server(
            PlainEcho if use_tls else lambda: PausingEcho(chance),
            "127.0.0.1",
            0,
            ssl=server_tls if use_tls else None,
        )
        for use_tls in (False, True)
    }
    ports = {key: server.sockets[0].getsockname()[1] for key, server in servers.items()}
    end = time.monotonic() + seconds
    await asyncio.gather(
        *[client(ports, client_tls, end, f"{seed}.{n}", totals) for n in range(CLIENTS)]
    )
    for server in servers.values():
        server.close()
        await server.wait_closed()
    if isinstance(loop, headrace.EventLoop):
        await wait_quiet(loop)


async def wait_quiet(loop: headrace.EventLoop) -> None:
    end = loop.time() + CONNECTION_WAIT_S_MAX
    while loop._operations_in_flight():
        if loop.time() > end:
            raise AssertionError(f"still in flight: {loop._operations_in_flight()}")
        await asyncio.sleep(0.01)


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def loop_factory(model: str | None) -> Callable[[], asyncio.AbstractEventLoop]:
    """*model* may be asyncio: what fails there is not ours."""
    return asyncio.new_event_loop if model == "asyncio" else lambda: headrace.new_event_loop(model)


def stress_model(model: str, certificate: Path, seconds: float, seed: int) -> str:
    """What went wrong, or an empty string."""
    before = open_descriptors()
    complaints: list[Any] = []
    sizes = []
    totals = Totals()
    # Four runs: the first fills the caches, the others must not add to them.
    for part in range(4):
        with asyncio.Runner(loop_factory=loop_factory(model)) as runner:
            runner.run(stress(certificate, seconds / 4, seed + part, totals, complaints))
        gc.collect()
        sizes.append(resident_bytes())
    print(
        f"{model:<12} {totals.connections:>6} connections {totals.aborted:>5} aborted "
        f"{totals.bytes_checked / 1e6:>8.1f} MB checked, RSS "
        f"{' '.join(f'{size / 1e6:.0f}' for size in sizes)} MB",
        flush=True,
    )
    if open_descriptors() != before:
        return f"{open_descriptors() - before} descriptors leaked"
    if complaints:
        return f"the exception handler was told: {complaints[0]}"
    if sizes[-1] - sizes[0] > GROWTH_BYTES_MAX:
        return f"memory grows: {sizes}"
    return ""


def make_certificate(folder: str) -> Path:
    path = Path(folder) / "localhost.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
        f"-keyout {path} -out {path}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def main() -> int:
    available = ",".join(info.name for info in headrace.models() if info.available)
    parser = argparse.ArgumentParser(description="random connections, every byte checked")
    parser.add_argument("--seconds", type=float, default=20, help="on each model")
    parser.add_argument("--models", default=available)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(folder)
        for model in options.models.split(","):
            failure = stress_model(model, certificate, options.seconds, options.seed)
            if failure:
                failures += 1
                print(f"{model}: {failure} (seed {options.seed})")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
