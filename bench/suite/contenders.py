"""Who takes part: headrace's models, the other loops, and the floor in C."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import inspect
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace

import headrace
from headrace.lab import floor
from suite.environment import ROOT

PEERS = ("asyncio", "uvloop", "aiofastnet", "rloop", "blazio")
OURS = ("uring", "epoll")
OWN_STREAMS = "-streams"
SPIN_US = 50
SPINNING = "uring-spin"
FLOOR = tuple(floor.PROGRAMS)


@dataclass(frozen=True)
class Contender:
    """One row of a cell, or the reason why it has none."""

    name: str
    loop: str = ""
    """What programs/loops.py makes a loop of; empty for a program in C."""
    version: str = ""
    reason: str | None = None
    own_streams: bool = False
    """Whether it uses headrace.start_server in place of asyncio's."""
    binary: str = ""
    """The program, where it is none of Python's."""

    @property
    def is_ours(self) -> bool:
        return self.loop.startswith("headrace")

    def without(self, reason: str | None) -> Contender:
        """The same with a reason, if it had none."""
        return replace(self, reason=self.reason or reason)


def package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def peer(name: str) -> Contender:
    if name == "asyncio":
        return Contender(name, name, platform.python_version())
    version = package_version(name)
    reason = None if importlib.util.find_spec(name) else "not installed for this Python"
    if name == "aiofastnet":
        version += f" on uvloop {package_version('uvloop')}"
    return Contender(name, name, version, reason)


def peers() -> list[Contender]:
    return [peer(name) for name in PEERS]


@functools.cache
def unavailable(model: str) -> str | None:
    info = next(info for info in headrace.models() if info.name == model)
    return None if info.available else info.reason or "not available here"


@functools.cache
def our_version() -> str:
    """With the commit, since a version of ours is many of them; + where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return headrace.__version__
    return f"{headrace.__version__} {answer.stdout.strip()}"


def ours() -> list[Contender]:
    return [Contender(name, f"headrace:{name}", our_version(), unavailable(name)) for name in OURS]


def own_streams() -> list[Contender]:
    """headrace's loops with headrace's own streams."""
    missing = None if hasattr(headrace, "start_server") else "headrace.start_server is not there"
    return [
        replace(one.without(missing), name=one.name + OWN_STREAMS, own_streams=True)
        for one in ours()
    ]


def spinning() -> Contender:
    """``uring`` that looks for a while before it sleeps."""
    known = inspect.signature(headrace.new_event_loop).parameters
    missing = None if "spin_us" in known else "headrace.new_event_loop has no spin_us"
    base = ours()[0].without(missing)
    return replace(base, name=SPINNING, loop=f"headrace:uring:{SPIN_US}")


@functools.cache
def floors() -> tuple[Contender, ...]:
    """The programs in C, built where they are not."""
    return tuple(
        Contender(program.name, version="C", reason=program.reason, binary=str(program.path))
        for program in floor.programs()
    )


def loops() -> list[Contender]:
    """Every loop in Python."""
    return [*ours(), *peers()]


def named(contenders: Iterable[Contender], names: Iterable[str] | None) -> list[Contender]:
    """Those with these names; all without names."""
    if names is None:
        return list(contenders)
    wanted = set(names)
    return [one for one in contenders if one.name in wanted]
