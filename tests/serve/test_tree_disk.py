"""A full disk: the upload ends with the error, and nothing else is harmed."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.serve.tree import Tree

DISK_BYTES = 256 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "headrace-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=60)


def fill(fd: int) -> None:
    while True:
        os.write(fd, b"x" * 65536)


def test_upload_that_fills_the_disk_fails_and_gives_the_room_back(disk):
    with Tree(disk) as tree:
        (disk / "file").write_bytes(b"good")
        made = tree.upload("/file")
        with pytest.raises(OSError, match="No space left"):
            fill(made.fd)
        made.discard()
        assert (disk / "file").read_bytes() == b"good"
        assert os.listdir(disk) == ["file"]
        (disk / "again").write_bytes(b"x" * (DISK_BYTES // 2))


def test_resume_for_whose_copy_there_is_no_room_fails_and_gives_the_room_back(disk):
    with Tree(disk) as tree:
        content = os.urandom(DISK_BYTES * 2 // 3)
        (disk / "file").write_bytes(content)
        with pytest.raises(OSError, match="No space left") as caught:
            tree.upload("/file", append=True)
        assert caught.value.filename == "/file"
        assert (disk / "file").read_bytes() == content
        assert os.listdir(disk) == ["file"]


def test_rename_onto_another_file_system_says_so(disk, tmp_path):
    with Tree(tmp_path) as tree:
        (tmp_path / "file").write_text("x")
        with pytest.raises(OSError, match="cross-device"):
            tree.rename("/file", "/disk/file")
        assert (tmp_path / "file").exists()


def test_file_that_may_not_grow_ends_the_upload(tree, served):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = tree.upload("/file")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            fill(made.fd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        made.discard()
    assert (served / "file").read_bytes() == b"inside"
    assert sorted(os.listdir(served)) == ["file", "folder"]


def test_commit_that_the_disk_refuses_leaves_the_good_file(tree, served, monkeypatch):
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    tree.sync = True
    made = tree.upload("/file")
    os.write(made.fd, b"never on the disk")
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="output error") as caught:
        made.commit()
    assert caught.value.filename == "/file"
    assert (served / "file").read_bytes() == b"inside"
    assert sorted(os.listdir(served)) == ["file", "folder"]
