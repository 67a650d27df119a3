"""Who takes part: the models of headrace, the peers, the raw programs, and the floor in C."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace.lab import floor, raw_programs
from headrace.lab.other_loops import OTHER_LOOPS

PEERS = ("asyncio", *OTHER_LOOPS)
SERVICE = Path(__file__).with_name("service.py")
PACKAGE_PARENT = str(Path(__file__).parents[2])


SHELL = "/bin/sh"


class UnknownRowError(ValueError):
    """A name that is no model, peer or floor, or that has no part here; the message says which."""


@dataclass(frozen=True)
class Contender:
    """One row: how to start its server, or why it cannot be started."""

    name: str
    kind: str
    """``headrace``, ``peer``, ``raw``, ``floor``, or ``plain`` for the user's command as it is."""
    version: str = ""
    reason: str | None = None
    """Why it cannot take part, or None."""
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    speaks: bool = True
    """Whether its standard input answers ``report``: our service in Python does."""


def service_environment() -> dict[str, str]:
    """Our environment, with headrace where we found it, for a service started by its path."""
    environment = dict(os.environ)
    known = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = PACKAGE_PARENT + (os.pathsep + known if known else "")
    environment.pop("HEADRACE_MODEL", None)
    return environment


def service_command(loop: str, mode: str) -> tuple[str, ...]:
    return (sys.executable, "-P", str(SERVICE), "--loop", loop, "--mode", mode)


def headrace_version() -> str:
    try:
        return importlib.metadata.version("headrace")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def peer(name: str, mode: str) -> Contender:
    if name == "asyncio":
        version = platform.python_version()
        reason = None
    elif importlib.util.find_spec(name) is None:
        version, reason = "", f"not installed (pip install {name})"
    else:
        version, reason = importlib.metadata.version(name), None
    command = service_command(name, mode)
    return Contender(name, "peer", version, reason, command, service_environment())


def peers(mode: str) -> list[Contender]:
    return [peer(name, mode) for name in PEERS]


def headrace_models(mode: str) -> list[Contender]:
    import headrace

    return [
        Contender(
            name=model.name,
            kind="headrace",
            version=headrace_version(),
            reason=None if model.available else model.reason or "not available",
            command=service_command(f"headrace:{model.name}", mode),
            environment=service_environment(),
        )
        for model in headrace.models()
    ]


def floors() -> list[Contender]:
    return [
        Contender(
            name=program.name,
            kind="floor",
            version="C",
            reason=program.reason,
            command=(str(program.path),),
            speaks=False,
        )
        for program in floor.programs()
    ]


def raws(connections: int) -> list[Contender]:
    """The raw programs that are servers; those that cannot carry so many connections say so."""
    return [
        Contender(
            name=program.name,
            kind="raw",
            version=platform.python_version(),
            reason=program.reason,
            command=(sys.executable, "-P", str(program.path)),
            speaks=False,
        )
        for program in raw_programs.programs(connections)
    ]


def user_commands(command: Sequence[str]) -> list[Contender]:
    """The user's own command under each model, and as it is."""
    import headrace
    from headrace.activate import environment

    words = command_words(command)
    found = [
        Contender(
            name=model.name,
            kind="headrace",
            version=headrace_version(),
            reason=None if model.available else model.reason or "not available",
            command=words,
            environment={**os.environ, **environment(model.name)} if model.available else {},
            speaks=False,
        )
        for model in headrace.models()
    ]
    plain = {name: value for name, value in os.environ.items() if name != "HEADRACE_MODEL"}
    version = platform.python_version()
    return [*found, Contender("asyncio", "plain", version, None, words, plain, speaks=False)]


def command_words(command: Sequence[str]) -> tuple[str, ...]:
    """The words of the program to start; a single word with blanks is a line for the shell."""
    line = command[0]
    if len(command) == 1 and len(line.split()) > 1 and not os.path.exists(line):
        return (SHELL, "-c", line)
    return tuple(command)


def wants_floor(names: Sequence[str] | None) -> bool:
    return any(name in floor.PROGRAMS for name in names or ())


def wants_raw(names: Sequence[str] | None) -> bool:
    return any(name in raw_programs.NAMES for name in names or ())


def choose(known: Sequence[Contender], names: Sequence[str] | None) -> list[Contender]:
    """Those with these names, in this order; without names those that can take part, and those
    of headrace's own that cannot, for the reason.

    Raises:
        UnknownRowError: a name that nobody has, or whose owner has no part with --http.
    """
    if names is None:
        return [one for one in known if one.reason is None or one.kind != "peer"]
    by_name = {one.name: one for one in known}
    for name in names:
        if name not in by_name:
            raise UnknownRowError(unknown_row(name, known))
    return [by_name[name] for name in dict.fromkeys(names)]


def unknown_row(name: str, known: Sequence[Contender]) -> str:
    names = [one.name for one in known]
    if any(one.kind == "plain" for one in known):
        if name in (*PEERS, *floor.PROGRAMS, *raw_programs.NAMES):
            return (
                f"{name!r} has no part with --http: COMMAND runs on headrace's models, and as it is"
                f" (asyncio); known: {', '.join(names)}"
            )
    else:
        ours = (*floor.PROGRAMS, *raw_programs.NAMES)
        names += [program for program in ours if program not in names]
    return f"unknown model {name!r}; known: {', '.join(names)}"
