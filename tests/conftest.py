"""What all tests share: models, an interrupt that arrives, children that end with their test."""

from __future__ import annotations

import contextlib
import gc
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import headrace

type_of_started = Callable[..., contextlib.AbstractContextManager[subprocess.Popen[Any]]]


def pytest_collection_finish() -> None:
    # What pytest itself has loaded is no garbage of a test's; looking through it takes 20 ms.
    gc.collect()
    gc.freeze()


def model_parameters() -> list[Any]:
    return [
        pytest.param(
            info.name, marks=() if info.available else pytest.mark.skip(reason=info.reason)
        )
        for info in headrace.models()
    ]


@pytest.fixture(params=model_parameters())
def model(request: pytest.FixtureRequest) -> str:
    """Each model; those that cannot be had here are skipped."""
    name: str = request.param
    return name


@pytest.fixture(params=["asyncio", *model_parameters()])
def loop_name(request: pytest.FixtureRequest) -> str:
    """Each model, and stock asyncio as the oracle."""
    name: str = request.param
    return name


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """SIGINT as a terminal's programs have it, for this process and for those that it starts.

    A shell without job control ignores it in what it starts in the background, children inherit
    that, and whoever waits for one that was interrupted waits for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def popen_that_ends(command: list[str], **keywords: Any) -> Iterator[subprocess.Popen[Any]]:
    with subprocess.Popen(command, **keywords) as process:
        try:
            yield process
        finally:
            # Popen's own end waits, for a test that has failed as well.
            process.kill()


@pytest.fixture(scope="session")
def started() -> type_of_started:
    """subprocess.Popen, but a child that is still there at the end of the block is killed."""
    return popen_that_ends
