"""Which models there are, which of them this kernel offers, and which one to take."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Mapping
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
    "blocking": "headrace.models.blocking:Blocking",
    "nonblocking": "headrace.models.nonblocking:NonblockingReadiness",
    "select": "headrace.models.select:SelectReadiness",
    "poll": "headrace.models.poll:PollReadiness",
    "epoll": "headrace.models.epoll:EpollReadiness",
    "epoll-edge": "headrace.models.epoll_edge:EpollEdgeReadiness",
    "signal": "headrace.models.signal:SignalReadiness",
    "aio": "headrace.models.aio:Aio",
    "uring": "headrace.models.uring:Uring",
}
# What model=None takes: the first that is available.
CANDIDATES = ("uring", "epoll")
# What has no default: without them a model is found out in the middle of a program.
REQUIRED_VERBS: dict[type[Any], tuple[str, ...]] = {
    Readiness: ("add", "modify", "remove", "wait"),
    Model: ("open", "submit", "cancel", "wait", "close"),
}


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
    return (*BUILT_IN, *sorted(_entry_points()))


def models() -> tuple[ModelInfo, ...]:
    """All models, with whether and why not they are available here.

    Entry points whose name is taken come last, as ``name (module:attribute)``: nothing can choose
    them.  If $HEADRACE_MODEL names no model, none of them is the default.
    """
    try:
        default = default_name()
    except UnknownModelError:
        default = None  # what it was asked for shows when a loop is to be made of it
    described = [_describe(name, default) for name in names()]
    return (
        *described,
        *(_unusable(f"{point.name} ({point.value})", reason) for point, reason in _clashes()),
    )


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


def open_model(name: str | None, open_on: Callable[[Model], object]) -> Model:
    """A new model that ``open_on(model)`` has opened.

    What the kernel offers it may still refuse: a user's rings together have a limit, and a process
    may give up rights after it has asked.  Who named no model gets the next candidate then.

    Raises:
        UnknownModelError: no model has that name.
        ModelUnavailableError: it cannot be had here, or not now; the message says why.
        OSError: there are no descriptors left, which no other model would change.
    """
    made = make_model(name)
    try:
        open_on(made)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        is_named = name is not None or bool(os.environ.get(ENVIRONMENT_VARIABLE))
        if not is_named and made.name != CANDIDATES[-1]:
            return open_model(CANDIDATES[CANDIDATES.index(made.name) + 1], open_on)
        reason = error.strerror or str(error)
        if made.name not in BUILT_IN:
            reason = f"{_title(made.name)}: {reason}"
        raise ModelUnavailableError(reason) from error
    return made


@functools.cache
def unavailable_reason(name: str) -> str | None:
    """None where *name* can be had; asked of the kernel once in a process."""
    made = model_class(name)
    if name in BUILT_IN:
        built_in: str | None = made.available()
        return built_in
    try:
        reason = made.available()
    except Exception as error:
        return f"{_title(name)}: available() failed: {error!r}"
    if reason is None:
        return None
    if not isinstance(reason, str):
        return f"{_title(name)}: available() must answer None or a reason, not {reason!r}"
    return f"{_title(name)}: {reason}"


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
    try:
        found = entry_points[name].load()
    except Exception as error:
        raise ModelUnavailableError(f"{_title(name)} cannot be loaded: {error!r}") from error
    fault = _fault_of(name, found)
    if fault is not None:
        raise ModelUnavailableError(f"{_title(name)} {fault}")
    checked: type[Any] = found
    return checked


def _title(name: str) -> str:
    """Another package's model, and where it comes from."""
    return f"model {name!r} ({_entry_points()[name].value})"


def _fault_of(name: str, found: object) -> str | None:
    """What another package's entry point lacks to be a model; None if it lacks nothing."""
    if not (isinstance(found, type) and issubclass(found, (Model, Readiness))):
        return f"must be a subclass of Model or Readiness: {found!r}"
    base = Readiness if issubclass(found, Readiness) else Model
    missing = [
        f"{verb}()"
        for verb in REQUIRED_VERBS[base]
        if getattr(found, verb, None) in (None, getattr(base, verb))
    ]
    if missing:
        return f"lacks {', '.join(missing)}"
    undeclared = set(Readiness.capabilities) - set(found.capabilities)
    if undeclared:
        return f"must declare the capabilities {', '.join(sorted(undeclared))}"
    if found.name != name:
        # loop.model would answer a name under which nobody finds it.
        return f"is called {found.name!r} by its class: its entry point must be called the same"
    return None


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    """Other packages' models by name; of several packages the one that sys.path has first."""
    found: dict[str, EntryPoint] = {}
    for point in _all_entry_points():
        if point.name not in BUILT_IN:
            found.setdefault(point.name, point)
    return found


def _clashes() -> list[tuple[EntryPoint, str]]:
    """The entry points whose name means another model, each with the reason."""
    found = []
    for point in _all_entry_points():
        if point.name in BUILT_IN:
            found.append((point, f"{point.name!r} is a model of headrace's own; rename this one"))
        elif point is not _entry_points()[point.name]:
            first = _entry_points()[point.name].value
            found.append((point, f"{point.name!r} is {first} here; rename this one"))
    return found


@functools.cache
def _all_entry_points() -> tuple[EntryPoint, ...]:
    # Here, because it is a quarter of the time that `import headrace` would take.
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _unusable(name: str, reason: str) -> ModelInfo:
    return ModelInfo(name, "", "", "", False, reason, {}, (), False)


def _describe(name: str, default: str | None) -> ModelInfo:
    try:
        made = model_class(name)
    except ModelUnavailableError as error:
        return _unusable(name, str(error))
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
