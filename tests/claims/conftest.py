"""Lets the tests of the claims import their own results, however pytest is called."""

import resource
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _limit_of_open_files():
    """An experiment raises it, for a process of its own; some tests run one here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
