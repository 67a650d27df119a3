"""The runs that the collected tests want are asked for at once, so that they overlap."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest) -> Iterator[object]:
    from runs import Runs

    made = Runs()
    made.ask(
        (item.callspec.params["subject"], item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path.parent == Path(__file__).parent
        and hasattr(item, "callspec")
    )
    yield made
    made.close()
