"""Ten minutes of everything at once: nothing lost, nothing left, and memory stands still.

    python bench/soak.py                                  # the default model, 10 minutes
    python bench/soak.py --model epoll --seconds 120
    python bench/soak.py --model asyncio                  # stock asyncio, as a comparison
    python bench/soak.py --seconds 20 --no-subprocess     # does this program itself work?

A server and 500 clients, each a process pinned to its own core.  The clients connect over plain
TCP and TLS, exchange 1 byte to 1 MiB in both directions, and end in order, by abort() or by a
reset, from either side.  Timers are set and cancelled all the while, and processes spawned.
Every 10 seconds a line says how it goes.  The verdict, and the exit code:

* what was received is what was sent (every byte is compared, the checksums of both sides too);
  all of it where a connection ended in order, a beginning of it where it was aborted;
* the resident size of neither process has grown by 2 % between the first third, when all is
  warm, and the end: weighed at rest, when nobody is connected and what is free was given back,
  since what is in flight weighs more than any leak;
* no descriptor is left open, no operation in flight, nothing in the exception handler.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import headrace
from soak_traffic import Answer, Totals, connect_once
from stress import loop_factory, make_certificate, open_descriptors

CONNECTIONS = 500
REPORT_EVERY_S = 10.0
# The time is that many rounds of work, each with a rest after it in which both are weighed.
ROUNDS = 6
WARM_UP_ROUNDS = 2
DRIFT_MAX = 0.02
CONNECTION_WAIT_S_MAX = 60.0
END_WAIT_S_MAX = 60.0
SPAWN_EVERY_S = 0.5
TIMERS_PER_CONNECTION = 20
FAILURES_SHOWN_MAX = 5

Weights = list[tuple[int, int]]


# The server's process.


async def serve(certificate: Path, totals: Totals) -> None:
    loop = asyncio.get_running_loop()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    servers = [
        await loop.create_server(lambda: Answer(totals), "127.0.0.1", 0, ssl=context, backlog=4096)
        for context in (None, tls)
    ]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    # Each line asks for our weight; the end of the input, when the parent is done, for our end.
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(0, lambda: lines.put_nowait(os.read(0, 100)))
    while await lines.get():
        while totals.open:
            await asyncio.sleep(0.01)
        print(weight_at_rest_bytes(), flush=True)
    loop.remove_reader(0)
    for server in servers:
        server.close()
        await server.wait_closed()


def run_server(options: argparse.Namespace) -> None:
    pin(1)
    totals = Totals()
    run_clean(options, totals, lambda: serve(options.certificate, totals))
    print(json.dumps(vars(totals)), flush=True)


# The clients' process.


async def client(
    ports: list[int], tls: ssl.SSLContext, numbers: Iterator[int], end_s: float, totals: Totals
) -> None:
    loop = asyncio.get_running_loop()
    while time.monotonic() < end_s:
        number = next(numbers)
        timers = [loop.call_later(3600 + n, print) for n in range(TIMERS_PER_CONNECTION)]
        try:
            async with asyncio.timeout(CONNECTION_WAIT_S_MAX):
                await connect_once(ports, tls, number, totals)
        except TimeoutError:
            totals.fail(f"connection {number}: hangs")
        finally:
            for timer in timers:
                timer.cancel()


async def spawn(end_s: float, totals: Totals) -> None:
    """Processes that give back what they are sent."""
    while time.monotonic() < end_s:
        message = random.randbytes(random.randint(0, 100_000))
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await process.communicate(message)
        if answer != message or process.returncode != 0:
            totals.fail(f"a process gives back {len(answer)} bytes of {len(message)}")
        totals.spawned += 1
        await asyncio.sleep(SPAWN_EVERY_S)


async def report(pids: list[int], begun_s: float, end_s: float, totals: Totals) -> None:
    """Say how it goes, every ten seconds."""
    while (left_s := end_s - time.monotonic()) > 0:
        await asyncio.sleep(min(left_s, REPORT_EVERY_S))
        clients, server = (resident_bytes(pid) for pid in pids)
        print(
            f"{time.monotonic() - begun_s:6.0f} s  RSS clients {clients / 1e6:6.1f} MB, server "
            f"{server / 1e6:6.1f} MB  {totals.made:8} connections {totals.aborted:7} aborted "
            f"{(totals.received_bytes + totals.sent_bytes) / 1e9:8.2f} GB "
            f"{totals.spawned:6} processes",
            flush=True,
        )


async def soak(
    options: argparse.Namespace,
    ports: list[int],
    server: subprocess.Popen[str],
    totals: Totals,
    weights: Weights,
) -> None:
    tls = ssl.create_default_context(cafile=options.certificate)
    numbers = iter(range(options.seed << 32, (options.seed + 1) << 32))
    begun_s = time.monotonic()
    for _ in range(ROUNDS):
        end_s = time.monotonic() + options.seconds / ROUNDS
        work = [client(ports, tls, numbers, end_s, totals) for _ in range(options.connections)]
        if not options.no_subprocess:
            work.append(spawn(end_s, totals))
        work.append(report([os.getpid(), server.pid], begun_s, end_s, totals))
        async with asyncio.timeout(options.seconds + CONNECTION_WAIT_S_MAX + END_WAIT_S_MAX):
            await asyncio.gather(*work)
        del work
        weights.append((weight_at_rest_bytes(), weight_of(server)))


@contextlib.contextmanager
def started_server(options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--serve", "--certificate", str(options.certificate)]
    command += ["--model", options.model] if options.model else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_clients(options: argparse.Namespace) -> int:
    totals = Totals()
    weights: Weights = []
    with started_server(options) as server:
        assert server.stdout is not None
        ports = json.loads(server.stdout.readline())
        pin(0)
        try:
            run_clean(options, totals, lambda: soak(options, ports, server, totals, weights))
        except NotImplementedError as error:
            sys.exit(f"soak: {error}\nsoak: --no-subprocess leaves the processes out")
        summary, _ = server.communicate(timeout=2 * END_WAIT_S_MAX)
    served = json.loads(summary)
    failures = [
        *totals.failures,
        *(f"server: {failure}" for failure in served["failures"]),
        *drifts(weights),
    ]
    return verdict(options, totals, failures)


def weight_of(server: subprocess.Popen[str]) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("weigh\n")
    server.stdin.flush()
    return int(server.stdout.readline())


# Both processes.


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def weight_at_rest_bytes() -> int:
    """Our resident size without what is free: garbage, and what malloc keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident_bytes(os.getpid())


def pin(number: int) -> None:
    """To a core of its own, if there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[number % len(cores)]})


async def wait_quiet() -> list[Any]:
    """What is in flight still, when enough time has been given."""
    loop = asyncio.get_running_loop()
    in_flight = getattr(loop, "_operations_in_flight", list)
    end_s = loop.time() + END_WAIT_S_MAX
    while (in_flight() or len(asyncio.all_tasks()) > 1) and loop.time() < end_s:
        await asyncio.sleep(0.01)
    return [*in_flight(), *(asyncio.all_tasks() - {asyncio.current_task()})]


def run_clean(options: argparse.Namespace, totals: Totals, work: Callable[[], Any]) -> None:
    """Run *work* on a loop of the model; whatever is left behind is a failure."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = open_descriptors()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: totals.fail(f"the exception handler was told: {context}")
        )
        await work()
        for left in await wait_quiet():
            totals.fail(f"left in the loop: {left}")

    with asyncio.Runner(loop_factory=loop_factory(options.model)) as runner:
        runner.run(main())
    gc.collect()
    if open_descriptors() != before:
        totals.fail(f"{open_descriptors() - before} descriptors are left open")


# The verdict.


def drifts(weights: Weights) -> list[str]:
    """Who has grown after the rounds of warming up."""
    found = []
    for name, column in zip(("clients", "server"), zip(*weights, strict=True), strict=True):
        drift = column[-1] / column[WARM_UP_ROUNDS - 1] - 1
        print(
            f"RSS at rest, {name}: {' '.join(f'{weight / 1e6:.1f}' for weight in column)} MB, "
            f"{drift:+.1%} after warming up"
        )
        if drift >= DRIFT_MAX:
            found.append(f"RSS of the {name} has grown by {drift:.1%}")
    return found


def verdict(options: argparse.Namespace, totals: Totals, failures: list[str]) -> int:
    for failure in failures[:FAILURES_SHOWN_MAX]:
        print(f"  {failure}")
    word = f"FAILED ({len(failures)}, seed {options.seed})" if failures else "sound"
    print(
        f"soak of {options.model or 'the default model'}: {word}; {totals.made} connections, "
        f"{totals.aborted} aborted, {(totals.received_bytes + totals.sent_bytes) / 1e9:.2f} GB"
    )
    return int(bool(failures))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--model",
        choices=["asyncio", *(model.name for model in headrace.models())],
        help="an I/O model, or asyncio; default: headrace's default",
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="at once")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--no-subprocess", action="store_true", help="spawn no processes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        options.certificate = make_certificate(folder)
        return run_clients(options)


if __name__ == "__main__":
    sys.exit(main())
