"""The machine of 1999: a network namespace behind a wire of 1 Gbit/s, and a slow core.

The wire is a pair of veth devices, each end shaped by tc's token bucket to 1 Gbit/s.  Segmentation
offload stays on, as every network card has it: the kernel hands 64 KiB to the wire at a time.  So
the bucket's burst is 256 KiB (2 ms of the wire): a smaller one would have tc cut them up on the
server's core.  Packets that wait longer than 50 ms for the wire are dropped, as a switch would.

Who pays for what: see receiving.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from c10k import cgroups, receiving
from c10k.cgroups import Bounds, Group, kill_all, make_group
from c10k.tools import NoBoxError, said

WIRE_BITS_PER_S = 1_000_000_000
BURST_BYTES = 256 * 1024
WIRE_LATENCY_MS_MAX = 50
SOURCES = 16
"""Addresses of the clients' end: 28,000 ports each towards any one port of the server."""
NETWORKS = 512
"""198.18.0.0/15 is for benchmarks (RFC 2544 appendix C.2.2): a /24 of it for each box."""
SYSCTLS = {
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
    "net.ipv4.ip_local_port_range": "1024 65535",
}
"""What an administrator of such a server sets; everything else is the kernel's default."""
CONGESTION_CONTROL = "net.ipv4.tcp_congestion_control"


class Interrupted(Exception):
    """SIGTERM or SIGHUP: everything is taken down on the way out."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box that stands: where the server runs, and what the load needs to reach it."""

    name: str
    namespace: str
    group: Group
    bounds: Bounds
    address: str
    sources: Sequence[str]
    device: str
    """The clients' end of the wire."""
    server_device: str
    folder: Path
    """For the files, configurations and logs of this run."""
    sysctls: Mapping[str, str]

    def start(
        self, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Starts a server in the box, in a session of its own; its words go to ``log``."""
        words = ["nsenter", f"--net=/run/netns/{self.namespace}", *command]
        with log.open("wb") as output:
            return subprocess.Popen(
                words,
                env=dict(variables),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self.group.enter,
            )

    def end_processes(self) -> None:
        kill_all(self.group)

    def inside(self, *command: str) -> str:
        return said(["nsenter", f"--net=/run/netns/{self.namespace}", *command])

    def wire_statistics(self) -> str:
        return self.inside("tc", "-s", "qdisc", "show", "dev", self.server_device)


def require_root() -> None:
    if os.geteuid() != 0:
        raise NoBoxError("the box needs root: it makes a network namespace and a control group")


@contextmanager
def make_box(
    bounds: Bounds,
    *,
    shaped: bool = True,
    pays_receiving: bool = True,
    congestion: str | None = None,
) -> Iterator[Box]:
    """A box of its own name; all of it is gone afterwards, whatever happened.

    Raises:
        NoBoxError: not root, or the kernel refuses something.
        NoCgroupError: there are no usable control groups.
    """
    require_root()
    remove_stale()
    number = os.getpid()
    name = f"c10k-{number}"
    outer, inner = f"c10k{number}a", f"c10k{number}b"
    with ExitStack() as undo:
        undo.enter_context(signals_raise())
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
        folder.chmod(0o755)
        group = make_group(name, bounds)
        undo.callback(group.remove)
        said(["ip", "netns", "add", name])
        undo.callback(said, ["ip", "netns", "del", name])
        said(["ip", "link", "add", outer, "type", "veth", "peer", "name", inner])
        undo.callback(quietly, ["ip", "link", "del", outer])
        if pays_receiving:
            receiving.prepare(outer, inner)
        said(["ip", "link", "set", inner, "netns", name])
        undo.callback(kill_all, group)
        address, sources = wire(name, outer, inner, free_network(number))
        if shaped:
            shape(name, outer, inner)
        if pays_receiving:
            receiving.give_thread(name, inner, group)
        yield Box(
            name,
            name,
            group,
            bounds,
            address,
            sources,
            outer,
            inner,
            folder,
            set_sysctls(name, congestion),
        )


def quietly(command: Sequence[str]) -> None:
    with suppress(NoBoxError):  # the device went with the namespace
        said(command)


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP become exceptions, as SIGINT is one: the box is taken down."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_network(begin: int) -> str:
    """The first three numbers of a /24 that no device here has."""
    taken = said(["ip", "-4", "-o", "addr", "show"])
    for at in range(NETWORKS):
        number = (begin + at) % NETWORKS
        prefix = f"198.{18 + number // 256}.{number % 256}"
        if f" {prefix}." not in taken:
            return prefix
    raise NoBoxError("all of 198.18.0.0/15 is taken")


def wire(namespace: str, outer: str, inner: str, prefix: str) -> tuple[str, list[str]]:
    """Addresses of both ends: the server's, and the clients'."""
    inside = ["nsenter", f"--net=/run/netns/{namespace}"]
    sources = [f"{prefix}.{2 + at}" for at in range(SOURCES)]
    said([*inside, "ip", "link", "set", "lo", "up"])
    said([*inside, "ip", "addr", "add", f"{prefix}.1/24", "dev", inner])
    said([*inside, "ip", "link", "set", inner, "up"])
    for source in sources:
        said(["ip", "addr", "add", f"{source}/24", "dev", outer])
    said(["ip", "link", "set", outer, "up"])
    return f"{prefix}.1", sources


def shape(namespace: str, outer: str, inner: str) -> None:
    bucket = ["root", "tbf", "rate", f"{WIRE_BITS_PER_S}bit", "burst", f"{BURST_BYTES}b"]
    bucket += ["latency", f"{WIRE_LATENCY_MS_MAX}ms"]
    inside = ["nsenter", f"--net=/run/netns/{namespace}"]
    said([*inside, "tc", "qdisc", "add", "dev", inner, *bucket])
    said(["tc", "qdisc", "add", "dev", outer, *bucket])


def set_sysctls(namespace: str, congestion: str | None) -> dict[str, str]:
    """Sets what stands in SYSCTLS inside; answers what is in force, for the report."""
    inside = ["nsenter", f"--net=/run/netns/{namespace}", "sysctl", "-n"]
    wanted = {**SYSCTLS, CONGESTION_CONTROL: congestion} if congestion else SYSCTLS
    for name, value in wanted.items():
        said([*inside[:-1], "-q", "-w", f"{name}={value}"])
    reported = [*SYSCTLS, CONGESTION_CONTROL, "net.ipv4.tcp_wmem", "net.ipv4.tcp_rmem"]
    found = {name: " ".join(said([*inside, name]).split()) for name in reported}
    # All namespaces share this one: pages from which TCP begins to save, on both ends.
    found["net.ipv4.tcp_mem"] = " ".join(Path("/proc/sys/net/ipv4/tcp_mem").read_text().split())
    return found


def remove_stale() -> None:
    """Takes down what a run left that was killed with SIGKILL: its process is gone."""
    for place in Path("/run/netns").glob("c10k-*"):
        if not Path("/proc", place.name.removeprefix("c10k-")).exists():
            said(["ip", "netns", "del", place.name])
    cgroups.remove_stale()
