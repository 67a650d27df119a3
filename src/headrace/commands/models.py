"""``headrace models``: what this kernel offers, and why not."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import Any

import headrace
from headrace.kernel.standard_output import standard_output
from headrace.models.registry import default_name

__all__ = ["main"]

WIDTH_COLUMNS_MAX = 100
CELL_COLUMNS_MIN = 8
"""Narrower than this no cell is made; then the lines are too long after all."""
GAP = "  "


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="headrace models",
        description="List the I/O models, and whether each works on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON, one object a model")
    as_objects = parser.parse_args(words).json
    models = headrace.models()
    error = default_error()
    if error is not None:
        # The list is what helps here, so that it is no failure of this command.
        print(f"headrace: {error}", file=sys.stderr)
    if as_objects:
        text = json.dumps([as_json(model, error) for model in models], indent=2)
    else:
        text = report(models)
    with standard_output():
        print(text)
    return 0


def default_error() -> str | None:
    """Why no model is the default: $HEADRACE_MODEL names none.  None where one is."""
    try:
        default_name()
    except headrace.UnknownModelError as error:
        return str(error)
    return None


def as_json(model: headrace.ModelInfo, default_error: str | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "stevens": model.stevens,
        "waits": model.waits,
        "copies": model.copies,
        "available": model.available,
        "reason": model.reason,
        "default": model.default,
        "default_error": default_error,
        "capabilities": dict(model.capabilities),
        "system_calls": list(model.system_calls),
    }


def report(models: Collection[headrace.ModelInfo]) -> str:
    """Two tables, because one with every column does not fit a terminal."""
    columns = min(WIDTH_COLUMNS_MAX, shutil.get_terminal_size((WIDTH_COLUMNS_MAX, 24)).columns)
    who = [("  model", "Stevens' class", "waits", "copies", "available")]
    what = [("  model", "system calls in steady state", "capabilities")]
    for model in models:
        name = f"{'*' if model.default else ' '} {model.name}"
        available = "yes" if model.available else f"no: {model.reason}"
        who.append((name, model.stevens, model.waits, model.copies, available))
        what.append((name, ", ".join(model.system_calls), capabilities(model)))
    lines = [*table(who, columns), "", *table(what, columns)]
    if any(model.default for model in models):
        lines += ["", "* what runs when no model is named"]
    return "\n".join(lines)


def capabilities(model: headrace.ModelInfo) -> str:
    """The capabilities it has, as words: a flag by its name, a quantity with its value."""
    return ", ".join(
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
        for name, value in model.capabilities.items()
        if value is not False and value is not None
    )


def table(rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """Aligned columns; the widest ones are narrowed, and their cells wrapped, until all fit."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = columns - len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > CELL_COLUMNS_MIN:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for pieces in zip_longest(*cells, fillvalue=""):
            padded = [piece.ljust(width) for piece, width in zip(pieces, widths, strict=True)]
            lines.append(GAP.join(padded).rstrip())
    return lines
