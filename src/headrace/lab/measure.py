"""One round of one contender: start, connect, warm up, count system calls, measure, stop.

System calls are counted in a stretch of their own, because counting makes them slower. The
measured stretch is cut into slices of a second that end drained; between two slices nothing is in
flight and the server sleeps, so that is when the progress line may be drawn.

Errors count from the first connection on.  What went wrong before the measured stretch changed what
is measured: an idle connection that the server has closed is not opened again, and is then missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.lab import proof
from headrace.lab.answer import START_S_MAX, wait_answer
from headrace.lab.contenders import Contender
from headrace.lab.load import Load, LoadError
from headrace.lab.other_loops import other_loops
from headrace.lab.process import Cores, ServerProcess, server_process
from headrace.lab.syscalls import (
    FROM_KERNEL,
    FROM_LOOP,
    NotCountableError,
    SystemCallCounter,
)
from headrace.lab.target import (
    ServerFailedError,
    Target,
    ask_report,
    wait_free,
    wait_ready,
)
from headrace.lab.usage import TICKS, Usage, cpu_growth, growth, is_cpu_known
from headrace.lab.window import Window, merge_windows

WARM_UP_S = 0.2
COUNT_S = 0.2
SLICE_S = 1.0
NOTHING = Window(0.0, 0)


@dataclass(frozen=True)
class Plan:
    """The load that every contender gets."""

    busy: int = 100
    idle: int = 500
    size: int = 1024
    seconds: float = 1.0
    mode: str = "protocol"
    target: Target | None = None
    patience_s: float = START_S_MAX
    """How long a user's service may take until it answers."""
    trace_point: int | None = None
    """The kernel's number of raw_syscalls:sys_enter, or None where it cannot be had."""


@dataclass
class Round:
    """What one round found; ``failed`` is the reason when it found nothing."""

    model: str
    window: Window = field(default_factory=lambda: NOTHING)
    cpu_known: bool = True
    """False when processes ended whose CPU time is in nobody's account."""
    cpu_us_per_request: float | None = None
    user_us_per_request: float | None = None
    system_us_per_request: float | None = None
    server_busy_share: float | None = None
    """CPU time over wall time; above 1.0 with several threads or processes."""
    server_waiting_share: float | None = None
    """Time ready but without a core, over wall time; above 1.0 when its own threads compete."""
    server_lost_share: float | None = None
    """The part of its cores that others can have taken: it was ready, and had them not."""
    syscalls_per_request: float | None = None
    syscalls_source: str | None = None
    rss_start_bytes: int | None = None
    rss_bytes: int | None = None
    connections: int = 0
    shared_core: bool = False
    statistics: dict[str, Any] | None = None
    other_loops: list[str] = field(default_factory=list)
    """Loops with which COMMAND may run where nothing of ours says on which it does."""
    exceptions: int = 0
    first_exception: str | None = None
    failed: str | None = None


Tick = Callable[[str], None]


def measure_round(contender: Contender, plan: Plan, cores: Cores, tick: Tick) -> Round:
    """Measures the contender once; a server that fails makes a round with the reason."""
    connections = plan.busy + plan.idle
    found = Round(contender.name, connections=connections, shared_core=cores.shared)
    try:
        tick("starting")
        if plan.target is not None:
            wait_free(plan.target)
        with (
            proof.witness() as witness,
            server_process(
                contender.command,
                proof.environment_with(contender, witness),
                cores,
                talks=plan.target is None,
            ) as server,
        ):
            try:
                _measure_server(found, contender, server, witness, plan, cores, tick)
            except (LoadError, ProcessLookupError) as error:
                _explain(found, contender, server, str(error))
    except (ServerFailedError, OSError, ValueError) as error:
        found.failed = str(error)
    return found


def _measure_server(
    found: Round,
    contender: Contender,
    server: ServerProcess,
    witness: proof.Witness,
    plan: Plan,
    cores: Cores,
    tick: Tick,
) -> None:
    target = plan.target
    address = wait_answer(server, target, plan.patience_s) if target else wait_ready(server)
    witness.load_begins()
    found.rss_start_bytes = server.usage().rss_bytes
    load = Load(
        address,
        busy=plan.busy,
        idle=plan.idle,
        size=plan.size,
        http_request=None if target is None else target.request(),
        spin=not cores.shared,
    )
    try:
        tick("connecting")
        load.connect()
        tick("warming up")
        warm = load.run(WARM_UP_S)
        if _is_refused(found, contender, server, load):
            return
        if server.popen.poll() is None:
            models = witness.models(server.tree())
            complaint = server.first_line(proof.COMPLAINT)
            found.failed = proof.contradiction(contender, models, complaint)
            if found.failed is not None:
                return
            if contender.kind == "plain":
                found.other_loops = other_loops(server.tree())
        if server.popen.poll() is None and (warm.requests or not warm.errors):
            tick("counting system calls")
            counted = _count_system_calls(found, server, load, plan.trace_point)
            _measure_window(found, contender, server, load, plan, tick)
            found.window = found.window.with_errors_of([warm, counted])
        else:
            found.window = warm
    finally:
        load.close()
    _explain(found, contender, server, None)


def _is_refused(found: Round, contender: Contender, server: ServerProcess, load: Load) -> bool:
    """Whether the server says that it cannot carry so many connections, as ``select`` must.

    Such a row has no figures: a service for half of the clients is not a slower service.
    """
    lost = found.connections - load.connected
    if lost == 0 or not contender.speaks or server.popen.poll() is not None:
        return False
    said = ask_report(server).get("first_exception")
    if said is None:
        return False
    found.failed = f"cannot carry {found.connections:,} connections, {lost:,} were lost: {said}"
    return True


def _count_system_calls(
    found: Round, server: ServerProcess, load: Load, trace_point: int | None
) -> Window:
    if trace_point is None:
        return NOTHING
    try:
        counter = SystemCallCounter(trace_point, server.tree())
    except NotCountableError:
        return NOTHING
    try:
        counted = load.run(COUNT_S)
        if counted.requests:
            found.syscalls_per_request = counter.read() / counted.requests
            found.syscalls_source = FROM_KERNEL
        return counted
    finally:
        counter.close()


def _measure_window(
    found: Round,
    contender: Contender,
    server: ServerProcess,
    load: Load,
    plan: Plan,
    tick: Tick,
) -> None:
    reported = ask_report(server) if contender.speaks else {}
    before = server.usage()
    windows: list[Window] = []
    left_s = plan.seconds
    while left_s > 0:
        tick("measuring")
        windows.append(load.run(min(left_s, SLICE_S)))
        left_s -= SLICE_S
    after = server.usage()
    found.window = merge_windows(windows)
    _fill_usage(found, before, after, server.core_count)
    if contender.speaks and server.popen.poll() is None:
        found.statistics = _difference(reported, ask_report(server))
        _count_by_statistics(found)


def _fill_usage(found: Round, before: Usage, after: Usage, core_count: int) -> None:
    if not after.cpu_ns:
        return
    requests = found.window.requests
    cpu_ns = cpu_growth(before, after)
    found.cpu_known = is_cpu_known(before, after)
    wall_ns = found.window.seconds * 1e9
    found.rss_bytes = after.rss_bytes
    found.server_busy_share = cpu_ns / wall_ns
    found.server_waiting_share = growth(before.waiting_ns, after.waiting_ns) / wall_ns
    free = max(0.0, core_count - found.server_busy_share)
    found.server_lost_share = min(found.server_waiting_share, free) / core_count
    if requests == 0 or not found.cpu_known:
        return
    found.cpu_us_per_request = cpu_ns / 1000 / requests
    user = after.user_ticks - before.user_ticks
    system = after.system_ticks - before.system_ticks
    # The split is sampled by the timer tick: only worth a figure when there were some.
    if user + system >= TICKS * 0.2:
        found.user_us_per_request = found.cpu_us_per_request * user / (user + system)
        found.system_us_per_request = found.cpu_us_per_request - found.user_us_per_request


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any] | None:
    """The loop's statistics over the window; None from loops that keep none."""
    old, new = before.get("statistics"), after.get("statistics")
    if not isinstance(old, dict) or not isinstance(new, dict):
        return None
    return {
        name: _difference_of(old.get(name), value)
        for name, value in new.items()
        if isinstance(value, int | dict)
    }


def _difference_of(old: object, new: object) -> Any:
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return {name: _difference_of(known.get(name), value) for name, value in new.items()}
    if isinstance(new, int):
        return new - old if isinstance(old, int) else new
    return new


def _count_by_statistics(found: Round) -> None:
    if found.syscalls_source is not None or not found.statistics or not found.window.requests:
        return
    system_calls = found.statistics.get("system_calls")
    if isinstance(system_calls, dict):
        found.syscalls_per_request = sum(system_calls.values()) / found.window.requests
        found.syscalls_source = FROM_LOOP


def _explain(
    found: Round, contender: Contender, server: ServerProcess, problem: str | None
) -> None:
    """Adds what the server knows about its own trouble; a crash is a reason of its own."""
    if server.popen.poll() is not None:
        found.failed = server.last_words()
        return
    if contender.speaks:
        report = ask_report(server)
        found.exceptions = int(report.get("exceptions", 0))
        found.first_exception = report.get("first_exception")
    if problem is not None:
        said = f" (the server: {found.first_exception})" if found.first_exception else ""
        found.failed = problem + said
