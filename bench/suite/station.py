"""A server and the load on it, kept through some rounds: what every network scenario measures.

The server is pinned to one core.  The load generator, this process, spins on another: one that
sleeps would have the server pay for waking it.  Between its stretches a server sleeps, and so do
those of all the other contenders, with their connections open; a sleeping process costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

from headrace.lab import judge
from headrace.lab.histogram import histogram_of, percentile_us
from headrace.lab.limits import TooManyConnectionsError
from headrace.lab.load import LoadError
from headrace.lab.process import ServerProcess, server_process
from headrace.lab.syscalls import NotCountableError, SystemCallCounter, read_trace_point
from headrace.lab.target import ServerFailedError, ask_report, wait_ready
from headrace.lab.usage import TICK_NS, Usage, cpu_growth, growth
from headrace.lab.window import Window
from suite import environment
from suite.cell import Failure, Measure, Plan, Sample
from suite.machine import LOAD_AND_SERVER

WARM_UP_S = 0.05
FIRST_WARM_UP_S = 0.15
COUNT_S = 0.1
LOST_SHARE_MAX = 0.1
"""Of its core, that others took."""
LOAD_SHARE_MIN = 0.9
PERCENTILES = {"p50_us": 50.0, "p99_us": 99.0, "p999_us": 99.9}

NETWORK_COLUMNS = ("syscalls", "cpu_us", "requests_per_s", *PERCENTILES)
NETWORK_PRIMARY = "cpu_us"


class LoadGenerator(Protocol):
    """What the lab's Load is, and the one that speaks TLS."""

    def connect(self) -> None: ...
    def run(self, seconds: float) -> Window: ...
    def close(self) -> None: ...


MakeLoad = Callable[[tuple[str, int]], LoadGenerator]


class TracePoint:
    """The kernel's count of system calls, asked for once."""

    def __init__(self) -> None:
        try:
            self.number: int | None = read_trace_point()
        except NotCountableError:
            self.number = None

    def count(self, server: ServerProcess, load: LoadGenerator) -> float | None:
        """System calls per request, in a stretch of its own: counting slows them down."""
        if self.number is None:
            return None
        try:
            counter = SystemCallCounter(self.number, server.tree())
        except NotCountableError:
            return None
        try:
            counted = checked(load.run(COUNT_S))
            return counter.read() / counted.requests
        finally:
            counter.close()


TRACE_POINT = TracePoint()


@contextmanager
def station(
    command: Sequence[str],
    make_load: MakeLoad,
    plan: Plan,
    *,
    speaks: bool,
    warm_up_s: float = WARM_UP_S,
) -> Iterator[Measure]:
    """Starts the server and connects; yields what measures one round.

    ``speaks`` says that the server answers questions on its standard input: our Python services.
    ``warm_up_s`` is how long the load runs before each measured stretch.

    Raises:
        Failure: it does not start, cannot be connected to, or answered wrongly.
    """
    try:
        with (
            server_process(command, variables(), LOAD_AND_SERVER, alone=False) as server,
            closing(make_load(wait_ready(server))) as load,
        ):
            load.connect()
            checked(load.run(FIRST_WARM_UP_S))
            syscalls = TRACE_POINT.count(server, load)

            def measure_once() -> Sample:
                if warm_up_s:
                    checked(load.run(warm_up_s))
                return measure(server, load, plan, syscalls, speaks=speaks)

            yield measure_once
    except (LoadError, OSError, ServerFailedError, TooManyConnectionsError) as error:
        raise Failure(str(error)) from error


def variables() -> Mapping[str, str]:
    return environment.variables()


def measure(
    server: ServerProcess, load: LoadGenerator, plan: Plan, syscalls: float | None, *, speaks: bool
) -> Sample:
    try:
        before = server.usage()
        window = checked(load.run(plan.seconds))
        after = server.usage()
        if speaks:
            require_no_exception(server)
    except (LoadError, OSError, ServerFailedError) as error:
        raise Failure(str(error)) from error
    figures = network_figures(window, before, after)
    if syscalls is not None:
        figures["syscalls"] = syscalls
    return Sample(figures, window.latency_ns, disturbance(window, before, after))


def network_figures(window: Window, before: Usage, after: Usage) -> dict[str, float]:
    histogram = histogram_of(window.latency_ns)
    percentiles = {name: percentile_us(histogram, part) for name, part in PERCENTILES.items()}
    return {
        "cpu_us": cpu_growth(before, after) / 1000 / window.requests,
        "user_ms": (after.user_ticks - before.user_ticks) * TICK_NS / 1e6,
        "system_ms": (after.system_ticks - before.system_ticks) * TICK_NS / 1e6,
        "requests": window.requests,
        "requests_per_s": window.requests / window.seconds,
        **{name: value for name, value in percentiles.items() if value is not None},
    }


def disturbance(window: Window, before: Usage, after: Usage) -> str | None:
    """Whether somebody else used the cores."""
    wall_ns = window.seconds * 1e9
    waiting = growth(before.waiting_ns, after.waiting_ns) / wall_ns
    if waiting > LOST_SHARE_MAX:
        return f"the server waited for its core {waiting:.0%} of the time"
    if window.cpu_share < LOAD_SHARE_MIN:
        return f"the load generator had its core {window.cpu_share:.0%} of the time"
    return None


def checked(window: Window) -> Window:
    """A stretch without an error, and with requests.

    Raises:
        Failure: a reply was wrong, late or missing: then its speed means nothing.
    """
    if window.errors:
        words = (
            f"{count:,} {judge.ERROR_WORDS.get(kind, kind)}"
            for kind, count in window.errors.items()
        )
        raise Failure(", ".join(words))
    if window.requests == 0:
        raise Failure("not one reply")
    return window


def require_no_exception(server: ServerProcess) -> None:
    report = ask_report(server)
    if report["exceptions"]:
        raise Failure(
            f"{report['exceptions']:,} exceptions in its loop, the first: "
            f"{report['first_exception']}"
        )
