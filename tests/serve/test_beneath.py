"""Opening beneath a folder: nothing else is ever opened, by either way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.serve import beneath
from headrace.serve.beneath import choose_opener, open_by_openat2, open_name_by_name

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


@pytest.fixture
def folder_fd(served: Path) -> Iterator[int]:
    fd = os.open(served, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", [b"file", b"folder/file", b"./folder//./file"])
def test_opener_opens_what_lies_beneath_without_passing_it_to_children(opener, folder_fd, path):
    fd = opener(folder_fd, path, os.O_RDONLY, 0)
    assert not os.get_inheritable(fd)
    assert read(fd) == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        b"../outside/secret",
        b"folder/../../outside/secret",
        b"folder/deep/../../../outside/secret",
        b"/etc/passwd",
        b"//etc/passwd",
        b"..",
        b"/",
    ],
)
def test_opener_refuses_a_path_that_leaves_the_folder(opener, folder_fd, path):
    with pytest.raises(PermissionError):
        opener(folder_fd, path, os.O_RDONLY, 0)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("absolute", "/etc/passwd"),
        ("absolute_inside", "{served}/file"),
        ("relative", "../outside/secret"),
        ("twice", "relative"),
        ("around", "folder/../../served/file"),
        ("proc", "/proc/self/root/etc/passwd"),
        ("folder_out", "../outside"),
    ],
)
def test_opener_refuses_a_link_that_leaves_the_folder(opener, served, folder_fd, link, target):
    (served / "relative").symlink_to("../outside/secret")
    (served / link).unlink(missing_ok=True)
    (served / link).symlink_to(target.format(served=served))
    with pytest.raises(PermissionError, match="link"):
        opener(folder_fd, link.encode(), os.O_RDONLY, 0)
    with pytest.raises(PermissionError, match="link"):
        opener(folder_fd, link.encode(), os.O_PATH, 0)
    if link == "folder_out":
        with pytest.raises(PermissionError, match="link"):
            opener(folder_fd, b"folder_out/secret", os.O_RDONLY, 0)


def test_magic_link_is_refused_even_where_it_leads_inside(served):
    proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        for way in (open_name_by_name, choose_opener()):
            with pytest.raises(OSError, match=r"Errno (13|40)"):  # EACCES, ELOOP
                way(proc, b"cwd/anything", os.O_RDONLY, 0)
    finally:
        os.close(proc)


def test_link_that_stays_inside_is_followed_by_openat2_only(
    opener, follows_links, served, folder_fd
):
    (served / "folder" / "up").symlink_to("../file")
    (served / "beside").symlink_to("folder")
    for path in (b"folder/up", b"beside/file"):
        if follows_links:
            assert read(opener(folder_fd, path, os.O_RDONLY, 0)) == b"inside"
        else:
            with pytest.raises(PermissionError, match="not followed"):
                opener(folder_fd, path, os.O_RDONLY, 0)


def test_loop_of_links_ends_in_an_error(opener, served, folder_fd):
    (served / "one").symlink_to("two")
    (served / "two").symlink_to("one")
    with pytest.raises(OSError, match=r"Errno (13|40)"):  # EACCES, ELOOP
        opener(folder_fd, b"one", os.O_RDONLY, 0)


@pytest.mark.parametrize(
    ("path", "number"),
    [(b"nothing", errno.ENOENT), (b"nothing/file", errno.ENOENT), (b"file/below", errno.ENOTDIR)],
)
def test_opener_says_what_open_says(opener, folder_fd, path, number):
    with pytest.raises(OSError, match=os.strerror(number)):
        opener(folder_fd, path, os.O_RDONLY, 0)


def test_opener_with_nofollow_takes_a_link_as_what_it_is(opener, served, folder_fd):
    (served / "link").symlink_to("/etc/passwd")
    fd = opener(folder_fd, b"link", os.O_PATH | os.O_NOFOLLOW, 0)
    assert os.readlink("", dir_fd=fd) == "/etc/passwd"
    os.close(fd)
    with pytest.raises(OSError, match=r"link"):
        opener(folder_fd, b"link", os.O_RDONLY | os.O_NOFOLLOW, 0)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_choice_falls_back_where_openat2_is_missing_or_denied(monkeypatch, number):
    def denied(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(beneath, "open_by_openat2", denied)
    assert beneath.choose_opener.__wrapped__() is open_name_by_name


@pytest.mark.parametrize("failures", [1, beneath.TRIES_MAX - 1])
def test_openat2_tries_again_where_a_rename_made_it_uncertain(monkeypatch, folder_fd, failures):
    left = [errno.EAGAIN] * failures
    real = beneath._syscall

    def uncertain(*arguments: object) -> int:
        if left:
            monkeypatch.setattr(beneath.ctypes, "get_errno", left.pop)
            return -1
        return real(*arguments)

    if choose_opener() is not open_by_openat2:
        pytest.skip("no openat2 here")
    monkeypatch.setattr(beneath, "_syscall", uncertain)
    assert read(open_by_openat2(folder_fd, b"file", os.O_RDONLY)) == b"inside"


def test_openat2_gives_up_where_it_stays_uncertain(monkeypatch, folder_fd):
    monkeypatch.setattr(beneath, "_syscall", lambda *_: -1)
    monkeypatch.setattr(beneath.ctypes, "get_errno", lambda: errno.EAGAIN)
    with pytest.raises(OSError, match="busy"):
        open_by_openat2(folder_fd, b"file", os.O_RDONLY)
