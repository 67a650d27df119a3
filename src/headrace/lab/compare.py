"""``headrace compare``: the same load on every model, peer, raw program and floor, interleaved.

Round one measures every row once, then comes round two: a machine that slows down meanwhile
slows all rows, and only the ratios of one run count anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.lab.options import (
    NOTHING_MEASURED,
    BadArgumentsError,
    Options,
    parse,
    require_packages,
)
from headrace.lab.stopping import Stopped, stopping_signals

if TYPE_CHECKING:
    from headrace.lab.contenders import Contender
    from headrace.lab.measure import Plan, Round
    from headrace.lab.process import Cores

EXIT_NOTHING_MEASURED = 1
EXIT_BAD_ARGUMENTS = 2


def main(argv: list[str]) -> int:
    """Runs ``headrace compare`` and answers its exit status.

    0: at least one row has figures. 1: none has. 2: bad arguments, among them a command that does
    not serve its URL, or the lab's packages are missing. 128 + N: signal N ended it; what was
    measured so far has been shown.
    """
    try:
        with stopping_signals():
            return prepare_and_measure(argv)
    except Stopped as stop:
        return 128 + stop.number


def prepare_and_measure(argv: list[str]) -> int:
    try:
        options = parse(argv)
        contenders, plan = prepare(options)
    except (BadArgumentsError, ValueError) as error:
        return complain(f"headrace compare: {error}")
    except Stopped:
        print(NOTHING_MEASURED, file=sys.stderr)
        raise
    return measure_and_show(options, contenders, plan)


def complain(line: str) -> int:
    print(line, file=sys.stderr)
    return EXIT_BAD_ARGUMENTS


def prepare(options: Options) -> tuple[list[Contender], Plan]:
    """Who takes part and what load each gets; every bad argument is found here."""
    require_packages()
    from headrace.lab import contenders
    from headrace.lab.limits import raise_descriptor_limit
    from headrace.lab.measure import Plan
    from headrace.lab.target import parse_url, require_free

    raise_descriptor_limit(options.busy + options.idle)
    target = parse_url(options.http) if options.http else None
    if target is not None:
        require_free(target)
        known = contenders.user_commands(options.command)
    else:
        known = contenders.headrace_models(options.mode) + contenders.peers(options.mode)
        if options.raw or contenders.wants_raw(options.models):
            known += contenders.raws(options.busy + options.idle)
        if options.floor or contenders.wants_floor(options.models):
            known += contenders.floors()
    chosen = contenders.choose(known, options.models)
    if options.models:
        added = {"raw": options.raw, "floor": options.floor}
        chosen += [one for one in known if added.get(one.kind) and one not in chosen]
    plan = Plan(
        busy=options.busy,
        idle=options.idle,
        size=options.size,
        seconds=options.seconds,
        mode=options.mode,
        target=target,
        trace_point=find_trace_point(),
    )
    return chosen, plan


def find_trace_point() -> int | None:
    from headrace.lab.syscalls import NotCountableError, SystemCallCounter, read_trace_point

    try:
        number = read_trace_point()
        SystemCallCounter(number, [os.getpid()]).close()
    except NotCountableError:
        return None
    return number


def measure_and_show(options: Options, contenders: list[Contender], plan: Plan) -> int:
    from headrace.lab.process import Cores, adopt_orphans
    from headrace.lab.show import show
    from headrace.lab.summary import summarise
    from headrace.lab.trial import BadCommandError

    cores = Cores.choose()
    if plan.target is None:
        cores = cores.single_server()
    else:
        adopt_orphans()
    rounds: dict[str, list[Round]] = {one.name: [] for one in contenders}
    status = 0
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cores.load})
        plan = try_command_first(options, plan, cores)
        measure_all(contenders, plan, cores, options.repeat, rounds)
    except BadCommandError as error:
        return complain(f"headrace compare: {error}")
    except Stopped as stop:
        status = 128 + stop.number
    finally:
        os.sched_setaffinity(0, allowed)
    # Of an interrupted run, only the rows that have rounds.
    chosen = [one for one in contenders if rounds[one.name] or status == 0]
    rows = [summarise(one, rounds[one.name]) for one in chosen]
    all_written = show(options, rows, cores, interrupted=status != 0)
    if status == 0 and not (all_written and any(row.measured for row in rows)):
        status = EXIT_NOTHING_MEASURED
    return status


def try_command_first(options: Options, plan: Plan, cores: Cores) -> Plan:
    """The plan with the time that the user's command may take to answer, if there is one."""
    from headrace.lab import contenders, trial

    if plan.target is None:
        return plan
    plain = next(c for c in contenders.user_commands(options.command) if c.kind == "plain")
    return replace(plan, patience_s=trial.try_command(plain, plan.target, cores))


def measure_all(
    contenders: list[Contender],
    plan: Plan,
    cores: Cores,
    repeat: int,
    rounds: dict[str, list[Round]],
) -> None:
    """Fills ``rounds``; a contender that failed outright is not tried again."""
    from rich.console import Console

    from headrace.lab.measure import measure_round
    from headrace.lab.progress import ProgressLine

    able = [one for one in contenders if one.reason is None]
    with ProgressLine(Console(stderr=True), repeat * len(able)) as line:
        for number in range(1, repeat + 1):
            for contender in able:
                done = rounds[contender.name]
                if not (done and done[-1].failed is not None):
                    tick = ticker(line.show, contender.name, number)
                    done.append(measure_round(contender, plan, cores, tick))
                line.advance()


def ticker(show: Callable[[str, int, str], None], who: str, number: int) -> Callable[[str], None]:
    return lambda what: show(who, number, what)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
