"""What the tests of streams share: each runs with asyncio's streams, the oracle, and with ours.

The loops, and what must not be left after a test, are those of tests/loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import headrace

sys.path.insert(0, str(Path(__file__).parent))


def of_loop() -> Any:
    path = Path(__file__).parents[1] / "loop" / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest_of_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_shared = of_loop()
complaints = _shared.complaints
loop = _shared.loop
run = _shared.run
headrace_loop = _shared.headrace_loop
headrace_run = _shared.headrace_run
reset = _shared.reset
server_tls = _shared.server_tls


@pytest.fixture(params=[asyncio, headrace], ids=["asyncio's", "ours"])
def api(request: pytest.FixtureRequest) -> Any:
    """Whose streams: the module that has start_server() and the classes."""
    return request.param
