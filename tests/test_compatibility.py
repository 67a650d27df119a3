"""docs/compatibility.md names every method of asyncio's interface, and nothing that is not one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import headrace

PAGE = (Path(__file__).parents[1] / "docs" / "compatibility.md").read_text(encoding="utf-8")
# Public names that a version of Python does not have yet.
SINCE_3_13 = {"close_clients", "abort_clients"}


def rows(heading: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def public(owner: type) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


def test_page_names_every_method_of_the_loop_once():
    named = [name for row in rows("The event loop") for name in names(row[0])]
    assert sorted(named) == sorted(public(asyncio.AbstractEventLoop))
    assert all(callable(getattr(headrace.EventLoop, name)) for name in named)


@pytest.mark.parametrize(
    "owner",
    [
        asyncio.BaseTransport,
        asyncio.ReadTransport,
        asyncio.WriteTransport,
        asyncio.DatagramTransport,
        asyncio.SubprocessTransport,
        asyncio.Server,
    ],
)
def test_page_names_every_method_of_the_transports_once(owner):
    named = [
        name
        for row in rows("Transports")
        if row[0] == f"`{owner.__name__}`"
        for name in names(row[1])
    ]
    assert set(named) - SINCE_3_13 == public(owner) - SINCE_3_13
    assert len(named) == len(set(named))


def test_page_says_the_models_of_each_method():
    assert all(row[-2] == "all" and row[-1] for row in rows("The event loop") + rows("Transports"))
