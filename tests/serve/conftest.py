"""What the tests of the file server share: a served folder, and the tree on it in both ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.serve.beneath import Opener, choose_opener, open_by_openat2, open_name_by_name
from headrace.serve.tree import Tree

NO_OPENAT2 = "this kernel has no openat2, or the sandbox denies it"
OPENERS = [
    pytest.param(
        open_by_openat2,
        id="openat2",
        marks=pytest.mark.skipif(choose_opener() is not open_by_openat2, reason=NO_OPENAT2),
    ),
    pytest.param(open_name_by_name, id="name-by-name"),
]


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    """Each way to open beneath a folder."""
    found: Opener = request.param
    return found


@pytest.fixture
def follows_links(opener: Opener) -> bool:
    """Whether this way follows a symbolic link that stays inside."""
    return opener is open_by_openat2


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The served folder, with a secret beside it that no client may ever see."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("outside")
    folder = tmp_path / "served"
    (folder / "folder" / "deep").mkdir(parents=True)
    (folder / "file").write_text("inside")
    (folder / "folder" / "file").write_text("inside")
    return folder


@pytest.fixture
def tree(served: Path, opener: Opener, no_descriptor_leaks: None) -> Iterator[Tree]:
    """The served folder in each way; after the test no descriptor is left."""
    with Tree(served, opener=opener) as made:
        yield made


@pytest.fixture
def no_descriptor_leaks() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found
