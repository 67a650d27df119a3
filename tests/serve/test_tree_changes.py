"""The tree, changed: always the last name in a folder beneath, never what a link leads to."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

import pytest

from headrace.serve import renaming


def test_make_folder_makes_one_and_refuses_a_name_that_is_taken(tree, served):
    tree.make_folder("/new")
    assert (served / "new").is_dir()
    for path in ("/new", "/file"):
        with pytest.raises(FileExistsError):
            tree.make_folder(path)


def test_remove_folder_takes_empty_ones_only(tree, served):
    tree.remove_folder("/folder/deep")
    assert not (served / "folder" / "deep").exists()
    with pytest.raises(OSError, match="not empty") as caught:
        tree.remove_folder("/folder")
    assert caught.value.filename == "/folder"
    with pytest.raises(NotADirectoryError):
        tree.remove_folder("/file")


def test_remove_folder_does_not_stumble_over_what_a_killed_process_left(tree, served):
    upload = tree.upload("/folder/deep/x")
    with pytest.raises(OSError, match="not empty"):  # somebody writes it
        tree.remove_folder("/folder/deep")
    os.write(upload.fd, b"x")
    upload.commit()
    tree.remove_file("/folder/deep/x")
    (served / "folder" / "deep" / ".headrace-upload-00").touch()
    tree.remove_folder("/folder/deep")
    assert not (served / "folder" / "deep").exists()


def test_remove_file_removes_a_link_and_not_what_it_leads_to(tree, served):
    (served / "link").symlink_to("../outside/secret")
    (served / "good").symlink_to("file")
    tree.remove_file("/link")
    tree.remove_file("/good")
    assert (served.parent / "outside" / "secret").exists()
    assert (served / "file").exists()
    with pytest.raises(IsADirectoryError):
        tree.remove_file("/folder")


@pytest.mark.parametrize("action", ["remove_folder", "remove_file", "make_folder", "upload"])
def test_the_root_itself_cannot_be_changed(tree, action):
    with pytest.raises(PermissionError, match="root folder"):
        getattr(tree, action)("/")


def test_rename_moves_and_replaces_at_once(tree, served):
    tree.rename("/file", "/folder/file")
    assert not (served / "file").exists()
    tree.rename("/folder", "/other")
    assert (served / "other" / "deep").is_dir()


def test_rename_moves_a_link_itself(tree, served):
    (served / "link").symlink_to("../outside/secret")
    tree.rename("/link", "/moved")
    assert os.readlink(served / "moved") == "../outside/secret"


@pytest.mark.parametrize("target", ["/folder/file", "/folder", "/link"])
def test_rename_that_must_not_replace_refuses_a_name_that_is_taken(tree, served, target):
    (served / "link").symlink_to("nothing")
    with pytest.raises(FileExistsError) as caught:
        tree.rename("/file", target, replace=False)
    assert caught.value.filename.startswith("/")
    assert (served / "file").exists()
    tree.rename("/file", "/new", replace=False)
    assert (served / "new").read_text() == "inside"


def test_rename_that_must_not_replace_works_without_the_kernels_help(tree, served, monkeypatch):
    monkeypatch.setattr(renaming, "_renameat2", None)
    with pytest.raises(FileExistsError):
        tree.rename("/file", "/folder/file", replace=False)
    tree.rename("/file", "/new", replace=False)
    assert not (served / "file").exists()
    assert (served / "new").read_text() == "inside"


def test_rename_that_the_kernel_forbids_is_not_tried_in_another_way(tree, served, monkeypatch):
    def forbid(*words: object) -> int:  # as in an append-only folder
        ctypes.set_errno(errno.EPERM)
        return -1

    monkeypatch.setattr(renaming, "_renameat2", forbid)
    with pytest.raises(PermissionError):
        tree.rename("/file", "/new", replace=False)
    assert sorted(os.listdir(served)) == ["file", "folder"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOENT])
def test_rename_in_two_steps_leaves_no_two_names(tree, served, monkeypatch, number):
    def unlink(name: bytes, *, dir_fd: int) -> None:
        if name != b"file":
            really(name, dir_fd=dir_fd)
            return
        if number == errno.ENOENT:  # somebody else was quicker
            really(name, dir_fd=dir_fd)
        raise OSError(number, os.strerror(number))

    really = os.unlink
    monkeypatch.setattr(renaming, "_renameat2", None)
    monkeypatch.setattr("os.unlink", unlink)
    if number == errno.EPERM:
        with pytest.raises(PermissionError):
            tree.rename("/file", "/new", replace=False)
        assert sorted(os.listdir(served)) == ["file", "folder"]
    else:
        tree.rename("/file", "/new", replace=False)
        assert sorted(os.listdir(served)) == ["folder", "new"]


def test_rename_of_a_folder_into_itself_is_refused(tree):
    with pytest.raises(OSError, match="Invalid argument"):
        tree.rename("/folder", "/folder/deep/folder")


@pytest.mark.parametrize("path", ["/file", "/folder"])
def test_change_mode_sets_permission_bits_and_no_others(tree, served, path):
    tree.change_mode(path, 0o750)
    assert stat.S_IMODE((served / path[1:]).stat().st_mode) == 0o750
    for mode in (0o4755, 0o2755, 0o1777, -1):
        with pytest.raises(PermissionError):
            tree.change_mode(path, mode)
    assert stat.S_IMODE((served / path[1:]).stat().st_mode) == 0o750


def test_change_mode_of_a_file_that_nobody_may_read_works(tree, served):
    tree.change_mode("/file", 0)
    tree.change_mode("/file", 0o644)
    assert stat.S_IMODE((served / "file").stat().st_mode) == 0o644


def test_change_of_mode_or_time_never_follows_a_link(tree, served):
    secret = served.parent / "outside" / "secret"
    before = secret.stat()
    (served / "link").symlink_to("../outside/secret")
    (served / "good").symlink_to("file")
    for path in ("/link", "/good"):
        with pytest.raises(PermissionError, match="neither"):
            tree.change_mode(path, 0o777)
        tree.change_modified(path, 12.0)
        assert (served / path[1:]).lstat().st_mtime == 12.0
    after = secret.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (served / "file").stat().st_mtime != 12.0


def test_change_modified_keeps_the_time_of_access(tree, served):
    accessed = (served / "file").stat().st_atime_ns
    tree.change_modified("/file", 1_000_000_000.5)
    status = (served / "file").stat()
    assert (status.st_mtime, status.st_atime_ns) == (1_000_000_000.5, accessed)
    tree.change_modified("/folder", -1.0)
    assert (served / "folder").stat().st_mtime == -1.0


def test_changes_below_a_link_out_of_the_tree_are_refused(tree, served):
    (served / "out").symlink_to("../outside")
    for change in (
        lambda: tree.make_folder("/out/new"),
        lambda: tree.remove_file("/out/secret"),
        lambda: tree.remove_folder("/out/secret"),
        lambda: tree.rename("/out/secret", "/secret"),
        lambda: tree.rename("/file", "/out/file"),
        lambda: tree.change_mode("/out/secret", 0o600),
        lambda: tree.change_modified("/out/secret", 0.0),
        lambda: tree.upload("/out/new"),
    ):
        with pytest.raises(PermissionError):
            change()
    assert os.listdir(served.parent / "outside") == ["secret"]
