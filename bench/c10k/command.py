"""The command line of bench/c10k/run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from c10k import install
from c10k.box import Interrupted
from c10k.cgroups import Bounds, NoCgroupError
from c10k.idle import run_idle
from c10k.loading import Load, LoadFailedError
from c10k.paced import Result, Station, run_paced
from c10k.peers import PEERS, Wanted
from c10k.server import ServerFailedError
from c10k.summary import summarise
from c10k.table import losses, moment, of_load, over_time, paced_table
from c10k.throughput import CLIENTS, run_throughput
from c10k.tools import NoBoxError

BOX_GIGAHERTZ = 1.0
MEMORY_BYTES = 2 * 1024**3
USERS = 10_000
RATE_BITS_PER_S = 28_800
RECEIVE_BUFFER_BYTES = 8192
"""What a client of 1999 had (Windows 98: 8,760 bytes).  Today's kernel takes a whole file at once:
then no server ever waits for a slow client, and nothing is measured."""
CANNOT = (NoBoxError, NoCgroupError, LoadFailedError, install.CannotInstallError)


def parser() -> argparse.ArgumentParser:
    it = argparse.ArgumentParser(prog="bench/c10k/run", description=__doc__)
    it.add_argument("--peer", default="headrace", help=f"{', '.join(PEERS)}, several, or all")
    it.add_argument("--users", type=positive, default=USERS, metavar="N")
    it.add_argument("--ramp", type=float, default=200.0, metavar="USERS_PER_S")
    it.add_argument("--seconds", type=float, default=300.0, help="the ramp included")
    it.add_argument("--workers", type=positive, default=4, metavar="N")
    it.add_argument("--model", help="headrace's I/O model")
    it.add_argument("--server-options", default="", help="more words for headrace serve")
    it.add_argument("--no-quota", action="store_true", help="as much of the core as there is")
    it.add_argument("--core-ghz", default="nominal", metavar="nominal|measured|GHZ")
    it.add_argument(
        "--congestion",
        metavar="NAME",
        help="the server's congestion control; default: the machine's own",
    )
    it.add_argument(
        "--simple-wire",
        action="store_true",
        help="the kernel receives wherever the packet was sent: the server pays for less",
    )
    it.add_argument("--file-kib", type=positive, default=100, metavar="K")
    it.add_argument("--rate-bits", type=float, default=RATE_BITS_PER_S, metavar="BITS_PER_S")
    it.add_argument(
        "--receive-buffer",
        type=int,
        default=RECEIVE_BUFFER_BYTES,
        metavar="BYTES",
        help="of a client's data connection; 0: what the kernel gives it",
    )
    it.add_argument("--epsv", action="store_true", help="EPSV in place of PASV")
    it.add_argument("--spin", action="store_true", help="the load never sleeps")
    it.add_argument("--throughput", action="store_true", help="100 clients without pace")
    it.add_argument("--rounds", type=positive, default=3, help="of --throughput")
    it.add_argument("--idle", type=positive, metavar="N", help="so many logged-in idle sessions")
    it.add_argument("--json", type=Path, metavar="FILE", help="the raw data")
    it.add_argument("--svg", type=Path, metavar="FILE", help="users, rate, memory, CPU over time")
    it.add_argument("--quiet", action="store_true", help="no line for each second")
    return it


def positive(words: str) -> int:
    number = int(words)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{words} is less than 1")
    return number


def run(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    names = list(PEERS) if options.peer == "all" else options.peer.split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        print(
            f"there is no peer {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr
        )
        return 2
    try:
        return measure(options, names)
    except CANNOT as error:
        print(f"bench/c10k/run: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted) as stop:
        print(
            f"bench/c10k/run: stopped ({stop or 'interrupted'}); the box is gone", file=sys.stderr
        )
        return 130


def measure(options: argparse.Namespace, names: Sequence[str]) -> int:
    clock = clock_of_core(options)
    station = station_of(options, clock["used"])
    # Not above: --help is for clones in which nothing has been built yet.
    from headrace.lab.machine import describe_machine, machine_line

    machine = describe_machine()
    os.sched_setaffinity(0, {station.load_core})
    print(f"{machine_line(machine)}; {words_of(clock, station)}", flush=True)
    users = CLIENTS if options.throughput else options.idle or options.users
    words = options.server_options.split()
    wanted = Wanted(options.workers, options.model, users, words)
    document: dict[str, Any] = {"machine": machine, "clock": clock}
    if options.throughput:
        document["throughput"] = run_throughput(names, wanted, station, options.rounds)
    elif options.idle:
        document["idle"] = run_idle(names, wanted, station, options.idle, options.ramp)
    else:
        document["paced"] = paced_runs(options, names, wanted, station)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.svg and "paced" in document:
        from c10k import picture

        options.svg.write_text(picture.draw(document))
    return 0


def paced_runs(
    options: argparse.Namespace, names: Sequence[str], wanted: Wanted, station: Station
) -> list[Result]:
    load = Load(
        users=options.users,
        ramp_per_s=options.ramp,
        seconds=options.seconds,
        rate_bytes_per_s=options.rate_bits / 8,
        file_bytes=options.file_kib * 1024,
        receive_buffer_bytes=options.receive_buffer,
        extended_passive=options.epsv,
        spin=options.spin,
    )
    results = []
    for name in names:
        print(f"== {name}", flush=True)
        try:
            result = run_paced(name, wanted, load, station, Progress(station, options.quiet))
        except (ServerFailedError, install.CannotInstallError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        results.append(result)
        summary = summarise(result)
        print(f"{name} {result['version']}, {result['shape']}: {losses(summary)}")
        print(f"alive at {over_time(result)}")
        print(of_load(summary))
        if result["server_ended_s"] is not None:
            print(f"{name} ended after {result['server_ended_s']:.0f} s: {result['log'][-300:]}")
        if summary.load_failed:
            print("the load generator lost users of its own: this run says nothing")
    if results:
        print(paced_table([(result, summarise(result)) for result in results]), flush=True)
    return results


class Progress:
    """Prints a line each second, with the growth since the last one."""

    def __init__(self, station: Station, quiet: bool) -> None:
        self.share = station.bounds.cpu_share
        self.quiet = quiet
        self.before: Mapping[str, Any] = {"second": 0.0, "cpu_s": 0.0, "bytes": 0}

    def __call__(self, row: Mapping[str, Any]) -> None:
        if not self.quiet:
            print(moment(row, self.share, self.before), flush=True)
        self.before = row


def station_of(options: argparse.Namespace, gigahertz: float) -> Station:
    """The load on the first core that we may use, the server on the last."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise NoBoxError("the box needs two cores: one for the server, one for the load")
    free = options.no_quota or options.throughput or options.idle
    share = None if free else min(1.0, BOX_GIGAHERTZ / gigahertz)
    return Station(
        Bounds(cores[-1], share, MEMORY_BYTES),
        cores[0],
        not options.simple_wire,
        options.congestion,
    )


def clock_of_core(options: argparse.Namespace) -> dict[str, float]:
    """The core's clock in GHz: as /proc/cpuinfo has it, as measured now, and which is used."""
    command = [str(install.load_generator()), "--measure-gigahertz"]
    measured = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    nominal = nominal_gigahertz() or measured
    clock = {"nominal": nominal, "measured": measured}
    wanted = options.core_ghz
    return {**clock, "used": clock[wanted] if wanted in clock else float(wanted)}


def nominal_gigahertz() -> float | None:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            return round(float(value) / 1000, 2)
    return None


def words_of(clock: Mapping[str, float], station: Station) -> str:
    share = station.bounds.cpu_share
    known = ", ".join(f"{name} {clock[name]:.2f}" for name in ("nominal", "measured"))
    core = f"a core of {clock['used']:.2f} GHz ({known})"
    return core + (", no quota" if share is None else f", of it {share:.1%} for the server")
