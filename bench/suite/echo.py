"""Echo cells: a mode of the service, a size of the message, and how many ask at once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.lab.load import Load
from suite.cell import Cell, Measure, Plan
from suite.contenders import Contender, floors, loops, own_streams, spinning
from suite.environment import BENCH
from suite.station import NETWORK_COLUMNS, NETWORK_PRIMARY, LoadGenerator, MakeLoad, station
from suite.tls import TLSLoad, certificate

SERVICE = BENCH / "programs" / "echo.py"
MODES = ("protocol", "buffered", "read", "readline", "sockets")
STREAM_MODES = ("read", "readline")
SIZES = {"64 B": 64, "1 KiB": 1024, "10 KiB": 10240, "100 KiB": 102400}
TLS_SIZES = {"256 B": 256, "8 KiB": 8192, "64 KiB": 65536}
CONNECTIONS = (1, 10, 100, 1000)


@dataclass(frozen=True)
class Echo:
    """The conditions of a cell."""

    mode: str
    size_name: str
    size: int
    connections: int
    unix: bool = False
    tls: bool = False

    @property
    def name(self) -> str:
        return f"{self.mode}, {self.size_name}, {self.connections}"


def service_command(contender: Contender, mode: str, *options: str) -> list[str]:
    streams = "headrace" if contender.own_streams else "asyncio"
    words = [sys.executable, str(SERVICE), "--loop", contender.loop, "--mode", mode]
    return [*words, "--streams", streams, *options]


def contenders(echo: Echo) -> list[Contender]:
    found = loops()
    if echo.mode in STREAM_MODES:
        found[2:2] = own_streams()
    if echo.connections == 1:
        found.insert(1, spinning())
    if echo.mode == "protocol" and not echo.tls:
        found += floors()
    return found


def echo_cell(echo: Echo, *, quick: bool = False, usual: bool = True) -> Cell:
    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "socket")) if echo.unix else ""
            with station(
                command(contender, echo, path),
                make_load(echo, path),
                plan,
                speaks=not contender.binary,
            ) as measure:
                yield measure

    return Cell(
        name=echo.name,
        prepare=prepare,
        contenders=contenders(echo),
        primary=NETWORK_PRIMARY,
        columns=NETWORK_COLUMNS,
        quick=quick,
        usual=usual,
    )


def command(contender: Contender, echo: Echo, path: str) -> list[str]:
    if contender.binary:
        return [contender.binary, "echo", *([path] if path else [])]
    options = ["--unix", path] if path else []
    if echo.tls:
        options += ["--certificate", certificate()]
    return service_command(contender, echo.mode, *options)


def make_load(echo: Echo, path: str) -> MakeLoad:
    def make(address: tuple[str, int]) -> LoadGenerator:
        lines = echo.mode == "readline"
        if echo.tls:
            return TLSLoad(address, busy=echo.connections, size=echo.size, lines=lines)
        return Load(
            path or address,
            busy=echo.connections,
            size=echo.size,
            echo=True,
            lines=lines,
            datagrams=echo.mode == "datagrams",
        )

    return make


def matrix(*, unix: bool) -> list[Echo]:
    return [
        Echo(mode, name, size, connections, unix)
        for mode in MODES
        for name, size in SIZES.items()
        for connections in CONNECTIONS
    ]
