"""Who takes part: the models of headrace, the peers, and the floor in C."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace.lab import floor

PEERS = ("asyncio", "uvloop", "rloop", "blazio")
SERVICE = Path(__file__).with_name("service.py")
PACKAGE_PARENT = str(Path(__file__).parents[2])


class UnknownRowError(ValueError):
    """A name that is no model, peer or floor; the message lists those that are."""


@dataclass(frozen=True)
class Contender:
    """One row: how to start its server, or why it cannot be started."""

    name: str
    kind: str
    """``headrace``, ``peer``, ``floor``, or ``plain`` for the user's command as it is."""
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


def user_commands(command: Sequence[str]) -> list[Contender]:
    """The user's own command under each model, and as it is."""
    import headrace
    from headrace.activate import environment

    found = [
        Contender(
            name=model.name,
            kind="headrace",
            version=headrace_version(),
            reason=None if model.available else model.reason or "not available",
            command=command,
            environment={**os.environ, **environment(model.name)} if model.available else {},
            speaks=False,
        )
        for model in headrace.models()
    ]
    plain = {name: value for name, value in os.environ.items() if name != "HEADRACE_MODEL"}
    version = platform.python_version()
    return [*found, Contender("asyncio", "plain", version, None, command, plain, speaks=False)]


def choose(known: Sequence[Contender], names: Sequence[str] | None) -> list[Contender]:
    """Those with these names, in this order; without names those that can take part, and those
    of headrace's own that cannot, for the reason.

    Raises:
        UnknownRowError: a name that nobody has.
    """
    if names is None:
        return [one for one in known if one.reason is None or one.kind != "peer"]
    by_name = {one.name: one for one in known}
    for name in names:
        if name not in by_name:
            raise UnknownRowError(f"unknown model {name!r}; known: {', '.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)]
