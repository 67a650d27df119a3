"""Random sequences of everything two ends and a hostile peer can do, each made of one seed.

HEADRACE_SEQUENCES=2000 plays that many on each model; HEADRACE_SEED=17 only that one.  Each is
played on stock asyncio too: what the protocols must see is worked out from the steps (ledger.py),
asyncio must see that, and every model must see what asyncio has seen.
"""

from __future__ import annotations

import asyncio
import gc
import os
from functools import cache

import pytest
from plan import plan_of
from player import Difference, Surroundings
from stage import Stage, describe

import headrace

SEQUENCES = int(os.environ.get("HEADRACE_SEQUENCES", "250"))
SEED_ONLY = os.environ.get("HEADRACE_SEED")
# Played one after the other on one loop, where descriptors and buffers are used again.
SEQUENCES_PER_TEST = 50


def seeds() -> list[range]:
    if SEED_ONLY is not None:
        return [range(int(SEED_ONLY), int(SEED_ONLY) + 1)]
    return [
        range(first, min(first + SEQUENCES_PER_TEST, SEQUENCES))
        for first in range(0, SEQUENCES, SEQUENCES_PER_TEST)
    ]


@pytest.fixture(scope="module")
def oracle(surroundings):
    """What stock asyncio sees of the plan of a seed."""
    stage = Stage(asyncio.SelectorEventLoop, surroundings)

    @cache
    def seen_by_asyncio(seed: int) -> list[str]:
        return stage.play(plan_of(seed))

    yield seen_by_asyncio
    stage.close()


@pytest.fixture
def stage(model: str, surroundings: Surroundings):
    stage = Stage(lambda: headrace.new_event_loop(model), surroundings)
    yield stage
    stage.close()
    gc.collect()


@pytest.mark.parametrize("seeds", seeds(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_protocols_see_what_asyncio_shows_them(stage, oracle, seeds):
    for seed in seeds:
        plan = plan_of(seed)
        expected = oracle(seed)
        seen = stage.play(plan)
        if seen != expected:
            other = [
                f"{ours}, on asyncio {theirs}"
                for ours, theirs in zip(seen, expected, strict=False)
                if ours != theirs
            ]
            raise Difference(describe(plan, seen, other[0] if other else "one ended earlier"))
