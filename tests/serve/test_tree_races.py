"""Somebody swaps folders and links while the tree is asked: nothing outside is ever touched."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.serve import renaming
from headrace.serve.tree import Tree

QUESTIONS = 2000
PATIENCE_S = 60.0
RENAME_EXCHANGE = 2  # include/uapi/linux/fcntl.h


def exchange(one: Path, other: Path) -> None:
    here = ctypes.c_int(-100)  # AT_FDCWD
    assert renaming._renameat2 is not None
    if renaming._renameat2(here, bytes(one), here, bytes(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Two names change places, again and again, in a thread; they are as they were at the end."""
    over = threading.Event()
    failed: list[OSError] = []

    def swap() -> None:
        try:
            while not over.is_set():
                exchange(one, other)
                exchange(one, other)
        except OSError as error:
            failed.append(error)

    exchange(one, other)
    exchange(one, other)
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed


def ask_often(question: Callable[[], object]) -> tuple[int, int]:
    """How often it was answered and refused; at least `QUESTIONS` times, and until both were."""
    answered = refused = 0
    patience_ends = time.monotonic() + PATIENCE_S
    while answered + refused < QUESTIONS or not (answered and refused):
        assert time.monotonic() < patience_ends, (answered, refused)
        try:
            question()
        except OSError:
            refused += 1
        else:
            answered += 1
    return answered, refused


@pytest.fixture
def swapped(served: Path) -> Iterator[None]:
    """/folder is now a folder, now a link to a folder outside that has the same names."""
    if renaming._renameat2 is None:
        pytest.skip("needs renameat2 to swap")
    outside = served.parent / "outside"
    (outside / "file").write_text("outside")
    (outside / "deep").mkdir()
    (outside / "deep" / "file").write_text("outside")
    (served / "folder" / "deep" / "file").write_text("inside")
    (served / "link").symlink_to("../outside")
    with swapping(served / "folder", served / "link"):
        yield


def untouched(served: Path) -> bool:
    outside = served.parent / "outside"
    return sorted(os.listdir(outside)) == ["deep", "file", "secret"] and all(
        (outside / name).read_text() == "outside" for name in ("file", "secret", "deep/file")
    )


@pytest.mark.parametrize("path", ["/folder/file", "/folder/deep/file"])
def test_file_below_a_folder_that_is_swapped_with_a_link_is_never_read_outside(
    tree, served, swapped, path
):
    def read() -> None:
        fd = tree.open_file(path)
        try:
            assert os.read(fd, 100) == b"inside"
        finally:
            os.close(fd)

    ask_often(read)


def test_listing_and_status_of_a_folder_that_is_swapped_are_never_those_outside(
    tree, served, swapped
):
    outside = (served.parent / "outside").stat().st_ino

    def look() -> None:
        assert "secret" not in {entry.name for entry in tree.scan("/folder", 100)}
        assert tree.status("/folder").st_ino != outside

    ask_often(look)


def test_changes_below_a_folder_that_is_swapped_never_happen_outside(tree, served, swapped):
    def upload() -> None:
        made = tree.upload("/folder/new")
        os.write(made.fd, b"x")
        made.commit()

    # One at a time: that the folder stays what it is for all of them together is rare.
    changes = itertools.cycle(
        [
            upload,
            lambda: tree.upload("/folder/file", append=True).discard(),
            lambda: tree.change_mode("/folder/new", 0o600),
            lambda: tree.rename("/folder/new", "/folder/newer"),
            lambda: tree.remove_file("/folder/newer"),
            lambda: tree.make_folder("/folder/below"),
            lambda: tree.remove_folder("/folder/below"),
        ]
    )
    ask_often(lambda: next(changes)())
    assert untouched(served)


def test_file_that_is_swapped_with_a_link_is_read_itself_or_not_at_all(tree, served):
    (served / "link").symlink_to("../outside/secret")

    def read() -> None:
        fd = tree.open_file("/file")
        try:
            assert os.read(fd, 100) == b"inside"
        finally:
            os.close(fd)

    with swapping(served / "file", served / "link"):
        ask_often(read)


def test_walks_over_a_folder_that_is_swapped_never_leave_the_tree(tree, served, swapped):
    sizes = set()
    for _ in range(200):
        sizes.add(tree.usage_bytes())
        assert tree.remove_stale_uploads() == 0
    # With /folder and without; /link is now the one and now the other, so both may be seen, too.
    assert all(size % len("inside") == 0 and size <= 5 * len("inside") for size in sizes)


def test_homes_are_fixed_when_they_are_opened(served, swapped):
    tree = Tree(served)

    def ask() -> None:
        with tree.subtree("/folder") as home:
            fd = home.open_file("/file")
            try:
                assert os.read(fd, 100) == b"inside"
            finally:
                os.close(fd)

    ask_often(ask)
    tree.close()
