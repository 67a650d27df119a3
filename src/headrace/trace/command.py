"""``headrace trace``: recorded without strace and with it, and shown."""

from __future__ import annotations

import sys

from headrace.lab.options import STANDARD_OUTPUT, BadArgumentsError, require_packages
from headrace.lab.stopping import Stopped, stopping_signals
from headrace.models.registry import (
    ModelInfo,
    ModelUnavailableError,
    UnknownModelError,
    model_class,
    models,
)
from headrace.trace.client import NoAnswerError
from headrace.trace.options import Options, parse
from headrace.trace.phases import medians_us
from headrace.trace.record import RecordingError, record
from headrace.trace.report import Result
from headrace.trace.strace import refusal
from headrace.trace.timeline import build

PROGRAM = "headrace trace"
EXIT_NOTHING_RECORDED = 1
EXIT_BAD_ARGUMENTS = 2


def main(words: list[str]) -> int:
    """Runs ``headrace trace`` and answers its exit status.

    0: a request was recorded and shown. 1: none was, or a file could not be written. 2: bad
    arguments, a model that cannot be had here, or the lab's packages are missing. 128 + N: signal
    N ended it; then nothing is shown.
    """
    try:
        with stopping_signals():
            return prepare_and_record(words)
    except Stopped as stop:
        return 128 + stop.number


def prepare_and_record(words: list[str]) -> int:
    try:
        options = parse(words)
        model = find_model(options.model)
        require_packages()
    except (BadArgumentsError, UnknownModelError, ModelUnavailableError) as error:
        return complain(f"{PROGRAM}: {error}", EXIT_BAD_ARGUMENTS)
    try:
        result = record_both(options, model)
    except (RecordingError, NoAnswerError) as error:
        return complain(f"{PROGRAM}: {error}", EXIT_NOTHING_RECORDED)
    return 0 if show(result) else EXIT_NOTHING_RECORDED


def complain(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status


def find_model(name: str) -> ModelInfo:
    """The model of that name, which can be had here.

    Raises:
        UnknownModelError: no model has that name.
        ModelUnavailableError: it cannot be had here; the message says why.
    """
    model_class(name)
    model = next(one for one in models() if one.name == name)
    if not model.available:
        raise ModelUnavailableError(model.reason)
    return model


def record_both(options: Options, model: ModelInfo) -> Result:
    """Recorded without strace, for the durations, and with it, for who calls what."""
    from headrace.lab.process import adopt_orphans

    adopt_orphans()
    delay_s = options.delay / 1000
    untraced = record(model.name, options.size, delay_s, traced=False)
    traced, why_not = None, None
    if options.strace:
        why_not = refusal()
        if why_not is None:
            try:
                traced = record(model.name, options.size, delay_s, traced=True)
            except (RecordingError, NoAnswerError) as error:
                why_not = f"strace: {error}"
    return Result(
        options,
        model,
        build(untraced, model.waits, model.copies),
        medians_us(untraced),
        None if traced is None else build(traced, model.waits, model.copies),
        why_not,
    )


def show(result: Result) -> bool:
    """Writes the files and prints the timeline; answers whether all of it was written."""
    from headrace.lab.machine import describe_machine, versions
    from headrace.lab.report import json_text
    from headrace.lab.show import deliver
    from headrace.trace.drawing import draw
    from headrace.trace.report import build_report

    options = result.options
    machine = describe_machine()
    return deliver(
        PROGRAM,
        build_report(result, machine, versions()),
        [(options.json, json_text), (options.svg, lambda _: draw(result, machine["kernel"]))],
        lambda: print_timeline(result, machine["kernel"]),
    )


def print_timeline(result: Result, kernel: str) -> None:
    from headrace.lab.table import ResultConsole
    from headrace.trace import terminal

    # Standard output is one document then, for a program to read.
    is_taken = STANDARD_OUTPUT in (result.options.json, result.options.svg)
    terminal.show(ResultConsole(stderr=is_taken), result, kernel)
