"""CPython's own tests of streams, with our classes in the places of asyncio's."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "cpython_streams.py"
RUN_S_MAX = 60

# Its connection is reset in a turn that only prompt models have by then: see
# tests/asyncio_suite/selection.py.
NOT_PROMPT = {
    "test_async_writer_api_exception_after_close",
    "test_unhandled_exception",
    "test_unhandled_exceptions",
}


@pytest.mark.skipif(
    importlib.util.find_spec("test.test_asyncio") is None,
    reason="this interpreter came without test.test_asyncio",
)
def test_cpythons_tests_pass_with_our_streams(model):
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), model],
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=True,
    )
    answer = json.loads(ended.stdout.splitlines()[-1])
    failed = {
        test: text
        for test, text in answer["failed"].items()
        if test.partition(" ")[0] not in NOT_PROMPT or model not in ("blocking", "aio")
    }
    assert not failed, "\n".join(failed.values())
    assert answer["run"] > 50
