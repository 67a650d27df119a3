"""Which models there are, which of them this kernel offers, and which one to take."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace.models.contract import Model
from headrace.models.reactor import Reactor, Readiness

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "headrace.models"
ENVIRONMENT_VARIABLE = "HEADRACE_MODEL"

# In the order of Stevens' chapter: who waits and who copies moves from the caller to the kernel.
BUILT_IN = {
    "nonblocking": "headrace.models.nonblocking:NonblockingReadiness",
    "select": "headrace.models.select:SelectReadiness",
    "poll": "headrace.models.poll:PollReadiness",
    "epoll": "headrace.models.epoll:EpollReadiness",
    "epoll-edge": "headrace.models.epoll_edge:EpollEdgeReadiness",
    "uring": "headrace.models.uring:Uring",
}
# What model=None takes: the first that is available.
CANDIDATES = ("uring", "epoll")


class UnknownModelError(ValueError):
    """There is no model of that name."""

    def __init__(self, name: str, where: str = "") -> None:
        super().__init__(f"{where}unknown model {name!r}: known are {', '.join(names())}")


class ModelUnavailableError(RuntimeError):
    """The model exists, and this kernel or process does not offer it."""


@dataclass(frozen=True)
class ModelInfo:
    """A model, and whether it can be had here."""

    name: str
    stevens: str
    waits: str
    copies: str
    available: bool
    reason: str | None
    capabilities: Mapping[str, bool | int | None]
    system_calls: tuple[str, ...]
    default: bool


def names() -> tuple[str, ...]:
    """All models: the built-in ones in Stevens' order, then those of other packages."""
    return (*BUILT_IN, *sorted(set(_entry_points()) - set(BUILT_IN)))


def models() -> tuple[ModelInfo, ...]:
    """All models, with whether and why not they are available here."""
    default = default_name()
    return tuple(_describe(name, default) for name in names())


def default_name() -> str:
    """What model=None means: $HEADRACE_MODEL, else uring where a ring can be had, else epoll."""
    asked = os.environ.get(ENVIRONMENT_VARIABLE)
    if asked:
        if asked not in BUILT_IN and asked not in names():
            raise UnknownModelError(asked, where=f"${ENVIRONMENT_VARIABLE}: ")
        return asked
    return next(name for name in CANDIDATES if unavailable_reason(name) is None)


def make_model(name: str | None = None) -> Model:
    """A new model, not yet opened.

    Raises:
        UnknownModelError: no model has that name.
        ModelUnavailableError: it cannot be had here; the message says why.
    """
    if name is None:
        name = default_name()
    made = model_class(name)
    reason = unavailable_reason(name)
    if reason is not None:
        raise ModelUnavailableError(reason)
    return Reactor(made()) if issubclass(made, Readiness) else made()


@functools.cache
def unavailable_reason(name: str) -> str | None:
    """None where *name* can be had; asked of the kernel once in a process."""
    made = model_class(name)
    try:
        reason: str | None = made.available()
    except Exception as error:
        if name in BUILT_IN:
            raise
        return f"model {name!r}: available() failed: {error!r}"
    return reason


@functools.cache
def model_class(name: str) -> type[Any]:
    """The Model or Readiness class of that name.

    Raises:
        UnknownModelError: no model has that name.
        ModelUnavailableError: another package's model that cannot be used; the message says why.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        built_in: type[Any] = getattr(import_module(module), attribute)
        return built_in
    entry_points = _entry_points()
    if name not in entry_points:
        raise UnknownModelError(name)
    entry_point = entry_points[name]
    try:
        found = entry_point.load()
    except Exception as error:
        raise ModelUnavailableError(
            f"model {name!r} ({entry_point.value}) cannot be loaded: {error!r}"
        ) from error
    fault = _fault_of(found)
    if fault is not None:
        raise ModelUnavailableError(f"model {name!r} ({entry_point.value}) {fault}: {found!r}")
    checked: type[Any] = found
    return checked


def _fault_of(found: object) -> str | None:
    """What another package's entry point lacks to be a model; None if it lacks nothing."""
    if not (isinstance(found, type) and issubclass(found, (Model, Readiness))):
        return "must be a subclass of Model or Readiness"
    missing = set(Readiness.capabilities) - set(found.capabilities)
    if missing:
        return f"must declare the capabilities {', '.join(sorted(missing))}"
    return None


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    # Here, because it is a quarter of the time that `import headrace` would take.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _describe(name: str, default: str) -> ModelInfo:
    try:
        made = model_class(name)
    except ModelUnavailableError as error:
        return ModelInfo(name, "", "", "", False, str(error), {}, (), False)
    reason = unavailable_reason(name)
    return ModelInfo(
        name=name,
        stevens=made.stevens,
        waits=made.waits,
        copies=made.copies,
        available=reason is None,
        reason=reason,
        capabilities=made.capabilities,
        system_calls=made.system_calls,
        default=name == default,
    )
