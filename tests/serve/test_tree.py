"""The tree, read: files, statuses, listings; and nothing outside the served folder."""

from __future__ import annotations

import errno
import gc
import os
import socket
import stat
from pathlib import Path

import pytest

from headrace.serve import paths
from headrace.serve.paths import BadPath
from headrace.serve.tree import TooManyEntries, Tree
from headrace.serve.upload import RESERVED_PREFIX


def content(tree: Tree, path: str) -> bytes:
    fd = tree.open_file(path)
    try:
        return os.read(fd, 1000)
    finally:
        os.close(fd)


def names(tree: Tree, path: str = "/") -> set[str]:
    return {entry.name for entry in tree.scan(path, 1000)}


# What clients have sent to servers since there are servers: as they arrive, decoded by nobody.
TRAVERSALS = [
    "../outside/secret",
    "../../outside/secret",
    "/../outside/secret",
    "//../outside/secret",
    "folder/../../outside/secret",
    "folder/../../../../../../../../../outside/secret",
    "./.././outside/secret",
    "folder/deep/../../../outside/secret",
    "..//outside//secret",
    "..\\outside\\secret",
    "..%2foutside%2fsecret",
    "%2e%2e/outside/secret",
    "%252e%252e%252foutside/secret",
    ".%00./outside/secret",
    "..%c0%af..%c0%afoutside/secret",
    b"..\xc0\xafoutside\xc0\xafsecret",
    b"\xc0\xae\xc0\xae/outside/secret",
    b"..\xe0\x80\xafoutside/secret",
    b"..\xef\xbc\x8foutside/secret",
    "\uff0e\uff0e/outside/secret",
    "\u2025/outside/secret",
    "...//outside/secret",
    ".../outside/secret",
    "../\0/outside/secret",
    "folder\0/../../outside/secret",
    "../outside/secret\0.txt",
    "\ud800/../outside/secret",
    "~/outside/secret",
    "folder/./../../outside/./secret",
    "/" * 3000 + "../outside/secret",
    "folder/" + "../" * 1000 + "outside/secret",
    "a/" * 1500 + "../" * 1501 + "outside/secret",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd",
    "/dev/fd/0",
    "file/../../outside/secret",
    "file/",
    "C:/outside/secret",
    "\r\n../outside/secret",
    " ../outside/secret",
    "../outside/secret ",
    "absolute",
    "relative",
    "relative/../relative",
    "out/secret",
    "out/../outside/secret",
    "chain/secret",
    "loop",
    "loop/secret",
]


@pytest.mark.parametrize("folder", ["/", "/folder", "/folder/deep", "/out"])
@pytest.mark.parametrize("words", TRAVERSALS, ids=lambda words: ascii(words)[:40])
def test_tree_never_reads_outside_whatever_a_client_says(tree, served, folder, words):
    (served / "absolute").symlink_to(served.parent / "outside" / "secret")
    (served / "relative").symlink_to("../outside/secret")
    (served / "out").symlink_to("../outside")
    (served / "chain").symlink_to("folder/link")
    (served / "folder" / "link").symlink_to("../../outside")
    (served / "loop").symlink_to("loop")
    name = paths.decode(words) if isinstance(words, bytes) else words
    try:
        path = paths.resolve(folder, name)
    except BadPath:
        return
    for ask in (
        lambda: content(tree, path),
        lambda: tree.scan(path, 100),
        lambda: tree.subtree(path).close(),
        lambda: tree.rename(path, "/stolen"),
        lambda: tree.change_mode(path, 0o777),
    ):
        try:
            answer = ask()
        except OSError:
            continue
        assert answer in (None, b"inside") or isinstance(answer, list)
        assert answer is None or "secret" not in str(answer)
    secret = served.parent / "outside" / "secret"
    assert secret.read_text() == "outside"
    assert secret.stat().st_mode & 0o777 != 0o777


def test_open_file_reads_regular_files_of_any_name(tree, served):
    strange = b"\xff\xfe caf\xc3\xa9 \n\x1b[31m"
    (served / os.fsdecode(strange)).write_bytes(b"strange")
    assert content(tree, "/folder/file") == b"inside"
    assert content(tree, "/" + paths.decode(strange)) == b"strange"
    assert paths.decode(strange) in names(tree)


def test_opened_file_blocks_and_is_not_inherited(tree):
    fd = tree.open_file("/file")
    assert os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_open_file_refuses_folders_and_what_is_no_regular_file_without_waiting(tree, served):
    os.mkfifo(served / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(served, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    for path in ("/fifo", "/socket"):
        with pytest.raises(OSError, match=r"Errno (6|13)") as caught:  # ENXIO, EACCES
            tree.open_file(path)
        assert caught.value.filename == path
    for path in ("/", "/folder"):
        with pytest.raises(IsADirectoryError):
            tree.open_file(path)


def test_open_file_refuses_a_device(tree, served):
    try:
        os.mknod(served / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")
    with pytest.raises(PermissionError, match=r"not a regular file|Permission denied"):
        tree.open_file("/zero")


@pytest.mark.parametrize(
    ("path", "kind"), [("/nothing", FileNotFoundError), ("/file/below", NotADirectoryError)]
)
def test_errors_name_the_virtual_path(tree, path, kind):
    for ask in (tree.open_file, tree.status, tree.remove_file, tree.make_folder, tree.upload):
        if path == "/nothing" and ask in (tree.make_folder, tree.upload):
            continue
        with pytest.raises(kind) as caught:
            ask(path)
        assert caught.value.filename == path
    with pytest.raises(kind) as caught:
        tree.scan(path, 10)
    assert caught.value.filename == path


def test_status_is_that_of_the_file_or_of_what_a_link_leads_to(tree, served, follows_links):
    assert tree.status("/file").st_size == len("inside")
    assert stat.S_ISDIR(tree.status("/").st_mode)
    (served / "link").symlink_to("folder")
    if follows_links:
        assert stat.S_ISDIR(tree.status("/link").st_mode)


def test_scan_has_each_name_with_its_status(tree, served):
    (served / "folder" / ".hidden").write_text("x" * 9)
    found = {entry.name: entry.status for entry in tree.scan("/folder", 100)}
    assert set(found) == {"file", "deep", ".hidden"}
    assert found[".hidden"].st_size == 9
    assert stat.S_ISDIR(found["deep"].st_mode)


def test_scan_shows_a_link_as_what_it_leads_to_or_as_a_link_where_it_must_not(
    tree, served, follows_links
):
    (served / "good").symlink_to("folder")
    (served / "folder" / "good").symlink_to("../file")
    (served / "bad").symlink_to("../outside")
    (served / "dangling").symlink_to("nothing")
    kinds = {entry.name: stat.S_IFMT(entry.status.st_mode) for entry in tree.scan("/", 100)}
    assert kinds["good"] == (stat.S_IFDIR if follows_links else stat.S_IFLNK)
    assert kinds["bad"] == kinds["dangling"] == stat.S_IFLNK
    below = {entry.name: stat.S_IFMT(entry.status.st_mode) for entry in tree.scan("/folder", 100)}
    assert below["good"] == (stat.S_IFREG if follows_links else stat.S_IFLNK)


def test_scan_takes_as_many_names_as_it_may_and_refuses_one_more(tree, served):
    for number in range(10):
        (served / "folder" / "deep" / str(number)).touch()
    assert len(tree.scan("/folder/deep", 10)) == 10
    with pytest.raises(TooManyEntries, match="more than 9 names") as caught:
        tree.scan("/folder/deep", 9)
    assert caught.value.filename == "/folder/deep"


def test_temporary_names_are_hidden_and_refused(tree, served):
    reserved = f"{RESERVED_PREFIX}0123"
    (served / reserved).write_text("half")
    (served / "folder" / reserved).mkdir()
    assert not any(
        name.startswith(RESERVED_PREFIX) for name in names(tree) | names(tree, "/folder")
    )
    for ask in (tree.open_file, tree.status, tree.subtree):
        with pytest.raises(FileNotFoundError):
            ask(f"/{reserved}")
    with pytest.raises(FileNotFoundError):
        tree.upload(f"/folder/{reserved}/x")
    for ask in (tree.upload, tree.make_folder, tree.remove_file, tree.remove_folder):
        with pytest.raises(PermissionError, match="server keeps for itself"):
            ask(f"/{reserved}")
    with pytest.raises(PermissionError):
        tree.rename("/file", f"/{reserved}")
    with pytest.raises(PermissionError):
        tree.rename(f"/{reserved}", "/mine")


def test_subtree_is_a_tree_of_its_own_that_nothing_leads_out_of(tree, served):
    (served / "folder" / "up").symlink_to("../file")
    with tree.subtree("/folder") as home:
        assert content(home, "/file") == b"inside"
        with pytest.raises(PermissionError):
            home.open_file("/up")
        assert paths.resolve("/", "../file") == "/file"
        with home.subtree("/deep") as below:
            assert below.scan("/", 10) == []
    with pytest.raises(FileNotFoundError):
        tree.subtree("/nothing")
    with pytest.raises(NotADirectoryError):
        tree.subtree("/file")


def test_tree_is_the_folder_that_was_opened_whatever_has_its_name_later(tree, served):
    moved = served.rename(served.parent / "moved")
    served.mkdir()
    assert content(tree, "/file") == b"inside"
    (moved / "new").write_text("x")
    assert "new" in names(tree)


def test_closed_tree_refuses_and_a_dropped_one_closes_itself(served, no_descriptor_leaks):
    tree = Tree(served)
    tree.close()
    tree.close()
    assert "closed" in repr(tree)
    with pytest.raises(OSError, match="Bad file descriptor"):
        tree.open_file("/file")
    Tree(served)
    gc.collect()


def test_tree_of_no_folder_is_refused(tmp_path: Path, no_descriptor_leaks):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        Tree(tmp_path / "nothing")
    with pytest.raises(NotADirectoryError):
        Tree(tmp_path / "file")


def test_open_descriptor_reads_the_old_file_while_another_takes_its_name(tree, served):
    fd = tree.open_file("/file")
    with_new = tree.upload("/file")
    os.write(with_new.fd, b"new content")
    with_new.commit()
    assert os.read(fd, 100) == b"inside"
    os.close(fd)
    assert content(tree, "/file") == b"new content"


def test_file_truncated_while_it_is_read_ends_early_without_an_error(tree, served):
    (served / "file").write_bytes(b"x" * 100_000)
    fd = tree.open_file("/file")
    assert len(os.read(fd, 1000)) == 1000
    os.truncate(served / "file", 10)
    assert os.read(fd, 1000) == b""
    os.close(fd)


def test_usage_adds_the_sizes_of_regular_files_beneath(tree, served):
    before = tree.usage_bytes()
    assert before == 2 * len("inside")
    (served / "folder" / "deep" / "big").write_bytes(b"x" * 10_000)
    (served / "folder" / "link").symlink_to("deep/big")
    (served / "out").symlink_to("../outside")
    assert tree.usage_bytes() == before + 10_000
    with tree.subtree("/folder/deep") as home:
        assert home.usage_bytes() == 10_000


@pytest.mark.parametrize(
    ("name", "depth"), [("a", 600), ("n" * 255, 20)], ids=["deep", "longer than a path may be"]
)
def test_usage_counts_files_however_deep_they_lie(tree, served, name, depth):
    fd = os.open(served, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    for file in ("big", ".headrace-upload-0123"):
        file_fd = os.open(file, os.O_WRONLY | os.O_CREAT, dir_fd=fd)
        os.truncate(file_fd, 10_000)
        os.close(file_fd)
    assert tree.usage_bytes() == 20_000 + 2 * len("inside")
    assert tree.remove_stale_uploads() == 1
    assert tree.usage_bytes() == 10_000 + 2 * len("inside")
    # Not left to whoever cleans up: rmdir by rmdir, from below.
    os.unlink("big", dir_fd=fd)
    for _ in range(depth):
        above = os.open("..", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        os.rmdir(name, dir_fd=above)
        fd = above
    os.close(fd)


def closed(opener, name):
    """An opener for which a folder cannot be read: no test can make one so for root."""

    def open_beneath(folder_fd, path, flags, mode=0):
        if path == name and not flags & os.O_PATH:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opener(folder_fd, path, flags, mode)

    return open_beneath


def test_usage_is_over_every_quota_where_a_client_has_closed_a_folder(served, opener):
    with Tree(served, opener=closed(opener, b"folder/deep")) as tree:
        with pytest.raises(OSError, match="a folder cannot be counted") as caught:
            tree.usage_bytes()
        assert caught.value.errno == errno.EDQUOT
        assert caught.value.filename == "/"
        assert tree.remove_stale_uploads() == 0


def test_usage_leaves_out_what_is_closed_to_everybody_but_its_owner(served, opener, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: os.stat(served).st_uid + 1)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with Tree(served, opener=closed(opener, b"folder")) as tree:
        assert tree.usage_bytes() == len("inside")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o300, 0o400, 0o600, 0o000])
def test_a_mode_hides_nothing_from_the_quota(tree, served, mode):
    folder = served / "folder"
    folder.chmod(mode)
    try:
        with pytest.raises(OSError, match="a folder cannot be counted"):
            tree.usage_bytes()
    finally:
        folder.chmod(0o755)


def test_a_folder_that_links_back_to_the_root_does_not_make_the_walk_endless(tree, served):
    (served / "folder" / "deep" / "top").symlink_to("../..")
    assert tree.usage_bytes() == 2 * len("inside")
    assert tree.remove_stale_uploads() == 0
