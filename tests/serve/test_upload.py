"""Uploads: whole or not at all, and the good file stays good whatever happens to them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.serve import renaming, upload
from headrace.serve.tree import Tree
from headrace.serve.upload import RESERVED_PREFIX


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(RESERVED_PREFIX)]


@pytest.fixture(params=[False, True], ids=["", "sync"])
def either(request: pytest.FixtureRequest, tree: Tree) -> Tree:
    """With and without waiting for the disk."""
    tree.sync = request.param
    return tree


def test_upload_has_its_name_when_it_is_committed_and_not_before(either, served):
    made = either.upload("/folder/new")
    os.write(made.fd, b"content")
    assert not (served / "folder" / "new").exists()
    assert len(temporaries(served / "folder")) == 1
    made.commit()
    assert (served / "folder" / "new").read_bytes() == b"content"
    assert temporaries(served / "folder") == []
    assert "ended" in repr(made)


def test_upload_that_is_discarded_leaves_nothing(either, served):
    made = either.upload("/new")
    os.write(made.fd, b"half")
    made.discard()
    made.discard()
    assert not (served / "new").exists()
    assert temporaries(served) == []


@pytest.mark.parametrize("keywords", [{}, {"append": True}, {"offset": 3}], ids=str)
def test_broken_upload_leaves_the_good_file_as_it_was(tree, served, keywords):
    before = (served / "file").stat()
    made = tree.upload("/file", **keywords)
    os.write(made.fd, b"half of something else")
    made.discard()
    assert (served / "file").read_bytes() == b"inside"
    after = (served / "file").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_upload_replaces_a_file_and_keeps_its_permissions(tree, served):
    (served / "file").chmod(0o640)
    made = tree.upload("/file")
    os.write(made.fd, b"new")
    made.commit()
    assert (served / "file").read_bytes() == b"new"
    assert stat.S_IMODE((served / "file").stat().st_mode) == 0o640


def test_upload_replaces_a_file_of_somebody_else_and_leaves_it_theirs(tree, served):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(served / "file", 65534, 65534)
    made = tree.upload("/file")
    made.commit()
    status = (served / "file").stat()
    assert (status.st_uid, status.st_gid, status.st_size) == (65534, 65534, 0)


def test_new_file_has_the_permissions_that_the_umask_leaves(tree, served):
    before = os.umask(0o027)
    try:
        tree.upload("/new").commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((served / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("sharing", [True, False], ids=["copy_file_range", "sendfile"])
@pytest.mark.parametrize(
    ("keywords", "content"),
    [
        ({"append": True}, b"0123456789NEW"),
        ({"offset": 4}, b"0123NEW"),
        ({"offset": 10}, b"0123456789NEW"),
        ({"offset": 0}, b"NEW"),
    ],
    ids=str,
)
def test_resumed_upload_goes_on_behind_what_is_there(
    tree, served, monkeypatch, keywords, content, sharing
):
    (served / "file").write_bytes(b"0123456789")
    if not sharing:
        monkeypatch.setattr(os, "copy_file_range", no_copy_file_range)
    made = tree.upload("/file", **keywords)
    assert made.offset == len(content) - 3
    assert os.lseek(made.fd, 0, os.SEEK_CUR) == made.offset
    os.write(made.fd, b"NEW")
    made.commit()
    assert (served / "file").read_bytes() == content


def no_copy_file_range(*_: object) -> int:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_resumed_upload_copies_more_than_one_call_does(tree, served, monkeypatch):
    monkeypatch.setattr(upload, "COPY_BYTES_MAX", 1000)
    content = os.urandom(10_500)
    (served / "file").write_bytes(content)
    made = tree.upload("/file", append=True)
    made.commit()
    assert (served / "file").read_bytes() == content


def test_append_to_nothing_makes_a_file(tree, served):
    made = tree.upload("/new", append=True)
    os.write(made.fd, b"x")
    made.commit()
    assert (served / "new").read_bytes() == b"x"


def test_offset_behind_the_end_or_into_nothing_is_refused(tree, served):
    with pytest.raises(OSError, match="6 bytes only") as caught:
        tree.upload("/file", offset=7)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        tree.upload("/new", offset=1)
    assert temporaries(served) == []


def test_file_that_becomes_shorter_while_it_is_copied_ends_the_upload(tree, served, monkeypatch):
    (served / "file").write_bytes(b"x" * 5000)
    real = os.copy_file_range

    def shrinking(source: int, target: int, count: int, *places: int) -> int:
        os.truncate(served / "file", 100)
        return real(source, target, min(count, 50), *places)

    monkeypatch.setattr(os, "copy_file_range", shrinking)
    with pytest.raises(OSError, match="shorter"):
        tree.upload("/file", append=True)
    assert temporaries(served) == []


@pytest.mark.parametrize("kernel_helps", [True, False])
def test_exclusive_upload_never_replaces_even_what_came_meanwhile(
    tree, served, monkeypatch, kernel_helps
):
    if not kernel_helps:
        monkeypatch.setattr(renaming, "_renameat2", None)
    with pytest.raises(FileExistsError):
        tree.upload("/file", exclusive=True)
    made = tree.upload("/new", exclusive=True)
    (served / "new").write_text("meanwhile")
    with pytest.raises(FileExistsError) as caught:
        made.commit()
    assert caught.value.filename == "/new"
    assert (served / "new").read_text() == "meanwhile"
    assert temporaries(served) == []
    again = tree.upload("/newer", exclusive=True)
    again.commit()
    assert (served / "newer").exists()
    assert temporaries(served) == []


def test_upload_onto_what_is_no_regular_file_is_refused(tree, served):
    os.mkfifo(served / "fifo")
    (served / "link").symlink_to("file")
    with pytest.raises(IsADirectoryError):
        tree.upload("/folder")
    for path in ("/fifo", "/link"):
        with pytest.raises(PermissionError, match="not a regular file"):
            tree.upload(path)
    assert temporaries(served) == []


def test_upload_does_not_replace_a_file_that_is_read_only_for_us(served):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    served.chmod(0o777)
    (served / "file").chmod(0o444)
    with Tree(served) as tree:
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                tree.upload("/file")
            tree.upload("/mine").commit()
        finally:
            os.seteuid(0)
    assert (served / "mine").stat().st_uid == 65534
    assert temporaries(served) == []


def test_upload_whose_folder_is_removed_fails_at_the_commit(tree, served):
    made = tree.upload("/folder/deep/x")
    for name in temporaries(served / "folder" / "deep"):
        (served / "folder" / "deep" / name).unlink()
    (served / "folder" / "deep").rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        made.commit()
    assert (caught.value.filename, caught.value.filename2) == ("/folder/deep/x", None)


def test_upload_goes_into_the_folder_that_it_began_in_though_that_is_renamed(tree, served):
    made = tree.upload("/folder/deep/x")
    tree.rename("/folder", "/other")
    os.write(made.fd, b"x")
    made.commit()
    assert (served / "other" / "deep" / "x").read_bytes() == b"x"


# What is kept of a broken upload, where it is to be kept.


def broken(tree: Tree, path: str, data: bytes, **keywords: object) -> upload.Upload:
    made = tree.upload(path, **keywords)  # type: ignore[arg-type]
    os.write(made.fd, data)
    return made


def test_partial_upload_of_a_new_name_is_kept_to_be_gone_on_with(tree, served):
    tree.keep_partial = True
    broken(tree, "/new", b"first half ").discard()
    assert (served / "new").read_bytes() == b"first half "
    made = broken(tree, "/new", b"second", offset=tree.status("/new").st_size)
    made.discard()
    assert (served / "new").read_bytes() == b"first half second"
    broken(tree, "/new", b" half", append=True).commit()
    assert (served / "new").read_bytes() == b"first half second half"
    assert temporaries(served) == []


def test_partial_upload_never_takes_a_byte_from_a_file_that_is_there(tree, served):
    tree.keep_partial = True
    broken(tree, "/file", b"longer than before").discard()
    assert (served / "file").read_bytes() == b"inside"
    broken(tree, "/file", b"longer than before", offset=3).discard()
    assert (served / "file").read_bytes() == b"inside"
    made = broken(tree, "/file", b" more", append=True)
    (served / "file").write_bytes(b"changed meanwhile")
    made.discard()
    assert (served / "file").read_bytes() == b"changed meanwhile"
    made = broken(tree, "/new", b"half")
    (served / "new").write_bytes(b"came meanwhile")
    made.discard()
    assert (served / "new").read_bytes() == b"came meanwhile"
    assert temporaries(served) == []


@pytest.mark.parametrize("how", ["empty", "exclusive", "told not to"])
def test_partial_upload_is_not_kept_where_that_helps_nobody(tree, served, how):
    tree.keep_partial = True
    made = broken(tree, "/new", b"" if how == "empty" else b"x", exclusive=how == "exclusive")
    made.discard(keep_partial=False if how == "told not to" else None)
    assert not (served / "new").exists()
    assert temporaries(served) == []


# What killed processes leave.

WRITER = """
import os, sys
from headrace.serve.tree import Tree
upload = Tree(sys.argv[1]).upload("/folder/deep/new")
os.write(upload.fd, b"half")
print(flush=True)
sys.stdin.read()
"""


def test_temporaries_of_killed_processes_are_removed_and_those_of_others_stay(
    tree, served, started
):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started([sys.executable, "-c", WRITER, str(served)], **pipes) as writer:
        writer.stdout.readline()
        mine = tree.upload("/folder/mine")
        assert tree.remove_stale_uploads() == 0
        assert len(temporaries(served / "folder" / "deep")) == 1
        writer.kill()
        writer.wait()
        assert tree.remove_stale_uploads() == 1
        assert temporaries(served / "folder" / "deep") == []
        os.write(mine.fd, b"x")
        mine.commit()
    assert (served / "folder" / "mine").read_bytes() == b"x"


def test_a_cleaner_that_comes_between_making_and_locking_costs_another_name_only(
    tree, served, monkeypatch
):
    real = upload.Upload._lock
    tries: list[bool] = []

    def robbed(self: upload.Upload) -> bool:
        if not tries:
            assert tree.remove_stale_uploads() == 1
        tries.append(real(self))
        return tries[-1]

    monkeypatch.setattr(upload.Upload, "_lock", robbed)
    made = tree.upload("/new")
    assert tries == [False, True]
    made.commit()
    assert (served / "new").exists()
    assert temporaries(served) == []


def test_upload_gives_up_where_no_temporary_name_is_to_be_had(tree, monkeypatch):
    monkeypatch.setattr(upload.Upload, "_lock", lambda _: False)
    with pytest.raises(OSError, match="no temporary name"):
        tree.upload("/new")
