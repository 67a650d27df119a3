"""The list of bars: what "the fastest asyncio loop on Linux" means, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator

from suite.bars import EPOLL, NO_PEER_AHEAD, OTHER_PEERS, URING, Bar
from suite.contenders import OWN_STREAMS, PEERS, SPINNING
from suite.echo import MODES, STREAM_MODES

STREAMS = tuple(f"{mode}, 1 KiB, 100" for mode in STREAM_MODES)
LARGE = tuple(f"{mode}, 100 KiB, 100" for mode in MODES)
TLS = ("protocol, 256 B, 100", "protocol, 8 KiB, 100")
PLAIN = "protocol, 1 KiB, 100"
SCHEDULING = {  # how much longer uvloop takes, at least
    "call_soon chain": 3.0,
    "timer set + cancelled": 4.0,
    "create_task + await": 1.5,
    "sleep(0)": 2.0,
    "call_soon_threadsafe": 3.0,
}


def goals() -> list[Bar]:
    return [*echo_goals(), *streams_goals(), *tls_goals(), *scheduling_goals(), *other_goals()]


def cpu(what: str, cells: tuple[str, ...], above: tuple[str, ...], limit: float, below: str) -> Bar:
    return Bar(what, "tcp_echo", cells, "cpu_us", above, limit, below)


def echo_goals() -> Iterator[Bar]:
    what = "TCP protocol 1 KiB"
    yield Bar(what, "tcp_echo", (PLAIN,), "cpu_us", (URING,), 1.10, below="c-epoll", at_least=False)
    yield cpu(what, (PLAIN,), ("uvloop",), 1.20, URING)
    yield cpu(what, (PLAIN,), OTHER_PEERS, 1.05, URING)
    yield cpu("the same on epoll", (PLAIN,), ("uvloop",), 1.10, EPOLL)
    yield Bar(
        what="system calls per request",
        scenario="tcp_echo",
        cells=(PLAIN, "protocol, 1 KiB, 1000"),
        column="syscalls",
        above=(URING,),
        limit=0.1,
        below=None,
        at_least=False,
    )
    yield cpu("100 KiB messages, every mode", LARGE, PEERS, NO_PEER_AHEAD, URING)
    one = ("protocol, 1 KiB, 1",)
    what = "one connection, p50"
    yield Bar(what, "tcp_echo", one, "p50_us", PEERS, NO_PEER_AHEAD)
    yield Bar(what, "tcp_echo", one, "p50_us", ("uvloop",), 2.0, below=SPINNING)


def streams_goals() -> Iterator[Bar]:
    what = "streams read and readline, 1 KiB"
    yield cpu(what, STREAMS, ("uvloop",), 1.25, URING)
    yield cpu(what, STREAMS, PEERS, 1.05, URING)
    own = URING + OWN_STREAMS
    yield cpu("the same with headrace's streams", STREAMS, ("uvloop",), 1.6, own)
    yield cpu("the same with headrace's streams", STREAMS, PEERS, 1.3, own)
    sockets = ("sockets, 1 KiB, 100",)
    yield cpu("sock_recv and sock_sendall", sockets, ("uvloop",), 2.0, URING)
    yield cpu("sock_recv and sock_sendall", sockets, PEERS, 1.3, URING)


def tls_goals() -> Iterator[Bar]:
    what = "TLS 256 B and 8 KiB"
    yield Bar(what, "tls_echo", TLS, "cpu_us", ("uvloop",), 1.5)
    yield Bar(what, "tls_echo", TLS, "cpu_us", ("aiofastnet",), NO_PEER_AHEAD)


def scheduling_goals() -> Iterator[Bar]:
    for cell, factor in SCHEDULING.items():
        yield Bar(cell, "scheduling", (cell,), "cpu_ns", ("uvloop",), factor)
        yield Bar(cell, "scheduling", (cell,), "cpu_ns", PEERS, NO_PEER_AHEAD)


def other_goals() -> Iterator[Bar]:
    files = ("read 4 KiB, 32 at a time",)
    what = "cached 4 KiB random reads, 32 at a time"
    yield Bar(what, "files", files, "us", ("aiofiles on asyncio",), 20.0)
    yield Bar(what, "files", files, "us", ("caio on uvloop",), 1.2)
    web = ("uvicorn, 100", "aiohttp, 100")
    what = "uvicorn and aiohttp with wrk"
    yield Bar(what, "http", web, "cpu_us", PEERS, NO_PEER_AHEAD)
    yield Bar(what, "http", web, "cpu_us", ("uvloop",), 1.05)
    what = "memory per idle connection"
    yield memory(what, "protocol", URING, 600)
    yield memory(what, "streams", URING + OWN_STREAMS, 2000)


def memory(what: str, cell: str, who: str, limit_bytes: float) -> Bar:
    return Bar(
        what,
        "idle_memory",
        (cell,),
        "silent_bytes",
        (who,),
        limit_bytes,
        below=None,
        at_least=False,
    )
