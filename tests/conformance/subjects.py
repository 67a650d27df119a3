"""What the conformance suite runs on: every model that can be had here, and stock asyncio.

A subject is a way to make an event loop, with what it declares it can do.  The simulated model
is as many subjects as there are seeds; each test gets seeds of its own, so that the whole suite
covers hundreds and a test that fails names the one that breaks it.  HEADRACE_SEEDS=200 runs
every test with 200 seeds; HEADRACE_SEED=17 runs every test with that one.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import headrace
from headrace.models.contract import Model
from headrace.models.simulated import Faults, SimulatedModel
from headrace.models.uring import Uring

SEEDS_PER_TEST = int(os.environ.get("HEADRACE_SEEDS", "4"))
SEED_ONLY = os.environ.get("HEADRACE_SEED")


@dataclass(frozen=True)
class Subject:
    """One thing under test; `make_loop` makes a new, independent event loop of it."""

    name: str
    make_loop: Callable[[], asyncio.AbstractEventLoop]
    capabilities: Mapping[str, bool | int | None] = field(default_factory=dict)
    is_stock: bool = False
    has_own_clock: bool = False

    def __str__(self) -> str:
        return self.name


def of_model(name: str, make_model: Callable[[], Model]) -> Subject:
    model = make_model()
    return Subject(
        name,
        lambda: headrace.EventLoop(make_model()),
        model.capabilities,
        has_own_clock=model.has_own_clock,
    )


def of_seed(seed: int) -> Subject:
    return of_model(f"simulated-{seed}", lambda: SimulatedModel(Faults.from_seed(seed)))


def real() -> list[Subject]:
    """Every model that this kernel offers, and uring as older kernels would run it."""
    subjects = [
        Subject(info.name, lambda name=info.name: headrace.EventLoop(name), info.capabilities)
        for info in headrace.models()
        if info.available
    ]
    if any(subject.name == "uring" for subject in subjects):
        degraded: dict[str, dict[str, Any]] = {
            "uring-without-defer-taskrun": {"defer_taskrun": False},
            "uring-without-multishot-receive": {"multishot_receive": False},
            "uring-without-incremental-buffers": {"incremental_buffers": False},
        }
        for name, features in degraded.items():
            subjects.append(of_model(name, lambda features=features: Uring(**features)))
    return subjects


def simulated(test_name: str) -> list[Subject]:
    """Seeds for *test_name*: the same at each run, others than its neighbours'."""
    if SEED_ONLY is not None:
        return [of_seed(int(SEED_ONLY))]
    first = zlib.crc32(test_name.encode()) % 1_000_000
    return [of_seed(first + offset) for offset in range(SEEDS_PER_TEST)]


STOCK = Subject(
    "asyncio",
    asyncio.SelectorEventLoop,
    {"regular_files": False, "descriptor_max": None},
    is_stock=True,
)
REAL = real()
