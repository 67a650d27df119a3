"""Unmodified applications under wrk, on each model, without one error.

The default is a second for each; HEADRACE_FULL=1 asks for the 100,000 requests of
bench/wrk_100k.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

FULL = os.environ.get("HEADRACE_FULL") == "1"
REQUESTS = 100_000 if FULL else 1_000
SECONDS = 5 if FULL else 1


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize("app", ["aiohttp", "uvicorn"])
@pytest.mark.timeout(600 if FULL else 60)
def test_application_answers_wrk_without_an_error(model, app, bench):
    ended = subprocess.run(
        [
            *(sys.executable, str(bench / "wrk_100k.py"), "--json", "--models", model),
            *("--apps", app, "--requests", str(REQUESTS), "--seconds", str(SECONDS)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    (row,) = json.loads(ended.stdout)
    assert row["requests"] >= REQUESTS
    assert row["socket_errors"] == 0
    assert row["bad_statuses"] == 0
    assert row["server_failure"] == ""
    assert ended.returncode == 0
