"""``headrace models``: what this kernel offers, and why not."""

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import headrace

__all__ = ["main"]

WIDTH_COLUMNS = 100
GAP = "  "


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="headrace models",
        description="List the I/O models, and whether each works on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON, one object a model")
    models = headrace.models()
    if parser.parse_args(words).json:
        print(json.dumps([as_json(model) for model in models], indent=2))
    else:
        print(report(models))
    return 0


def as_json(model: headrace.ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "stevens": model.stevens,
        "waits": model.waits,
        "copies": model.copies,
        "available": model.available,
        "reason": model.reason,
        "default": model.default,
        "capabilities": dict(model.capabilities),
        "system_calls": list(model.system_calls),
    }


def report(models: Iterable[headrace.ModelInfo]) -> str:
    """Two tables, because one with every column does not fit a terminal."""
    who = [("  model", "Stevens' class", "waits", "copies", "available")]
    what = [("  model", "system calls", "capabilities")]
    for model in models:
        name = f"{'*' if model.default else ' '} {model.name}"
        available = "yes" if model.available else f"no: {model.reason}"
        who.append((name, model.stevens, model.waits, model.copies, available))
        what.append((name, ", ".join(model.system_calls), capabilities(model)))
    return "\n".join([*table(who), "", *table(what), "", "* what runs when no model is named"])


def capabilities(model: headrace.ModelInfo) -> str:
    """The capabilities it has, as words: a flag by its name, a quantity with its value."""
    return ", ".join(
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
        for name, value in model.capabilities.items()
        if value is not False and value is not None
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; the last one takes the room that is left, and is wrapped to it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    room = max(24, WIDTH_COLUMNS - sum(width + len(GAP) for width in widths))
    lines = []
    for *cells, last in rows:
        wrapped = textwrap.wrap(last, room) or [""]
        for index, piece in enumerate(wrapped):
            heads = [
                (cell if index == 0 else "").ljust(width)
                for cell, width in zip(cells, widths, strict=True)
            ]
            lines.append(GAP.join([*heads, piece]).rstrip())
    return lines
