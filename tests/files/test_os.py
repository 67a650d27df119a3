"""headrace.os does what os does, with the same errors, on every loop."""

import asyncio
import errno
import os
import socket

import pytest

import headrace


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"contents")
    return file


FIELDS = [name for name in dir(os.stat_result) if name.startswith("st_")]


def test_stat_answers_what_os_stat_does(run, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)

    async def main():
        for name in (path, str(path), os.fsencode(path), tmp_path, "/dev/null", "/etc/passwd"):
            assert_same(await headrace.os.stat(name), os.stat(name))
        assert_same(await headrace.os.stat(link), os.stat(path))
        assert_same(await headrace.os.lstat(link), os.lstat(link))
        with path.open() as file:
            assert_same(await headrace.os.stat(file.fileno()), os.stat(path))

    def assert_same(ours, theirs):
        for name in FIELDS:
            assert getattr(ours, name) == getattr(theirs, name), name

    run(main())


def test_names_are_changed(run, path, tmp_path):
    async def main():
        other, folder = tmp_path / "other", tmp_path / "folder"
        await headrace.os.rename(path, other)
        assert other.read_bytes() == b"contents"
        assert not path.exists()
        await headrace.os.link(other, path)
        assert path.stat().st_nlink == 2
        await headrace.os.replace(path, other)
        await headrace.os.unlink(path)
        assert not path.exists()
        await headrace.os.symlink("other", path)
        assert await headrace.os.readlink(path) == "other"
        await headrace.os.remove(path)
        before = os.umask(0o022)
        try:
            await headrace.os.mkdir(folder, 0o750)
        finally:
            os.umask(before)
        assert folder.stat().st_mode & 0o777 == 0o750
        await headrace.os.rmdir(folder)
        assert os.listdir(tmp_path) == ["other"]

    run(main())


ERRORS = [
    ("stat", ("missing",)),
    ("lstat", ("missing",)),
    ("unlink", ("missing",)),
    ("unlink", (".",)),
    ("rmdir", ("missing",)),
    ("rmdir", ("file",)),
    ("mkdir", ("file",)),
    ("mkdir", ("missing/folder",)),
    ("rename", ("missing", "other")),
    ("replace", ("file", "missing/other")),
    ("link", ("missing", "other")),
    ("symlink", ("target", "file")),
    ("readlink", ("file",)),
    ("listdir", ("file",)),
    ("open", ("missing", os.O_RDONLY)),
    ("open", ("file/below", os.O_RDONLY)),
    ("read", (10_000, 5)),
    ("write", (10_000, b"x")),
    ("pread", (10_000, 5, 0)),
    ("pread", (0, 5, -1)),
    ("close", (10_000,)),
    ("fsync", (10_000,)),
    ("fdatasync", (10_000,)),
    ("ftruncate", (10_000, 1)),
    ("sendfile", (10_000, 10_001, 0, 5)),
]


@pytest.mark.parametrize(("name", "arguments"), ERRORS)
def test_errors_are_those_of_os(run, path, tmp_path, monkeypatch, name, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError) as theirs:  # noqa: PT011
        getattr(os, name)(*arguments)

    async def main():
        with pytest.raises(OSError) as ours:  # noqa: PT011
            await getattr(headrace.os, name)(*arguments)
        for attribute in ("errno", "strerror", "filename", "filename2"):
            assert getattr(ours.value, attribute) == getattr(theirs.value, attribute)
        assert type(ours.value) is type(theirs.value)

    run(main())


def test_mistakes_are_told_as_by_os(run, path):
    """None for a name is an unset setting, and EFAULT would not say so."""

    async def main():
        for call in (
            headrace.os.stat(None),
            headrace.os.unlink(None),
            headrace.os.mkdir(None),
            headrace.os.rename("x", None),
            headrace.os.symlink(None, "x"),
            headrace.os.open(None, os.O_RDONLY),
            headrace.os.lstat(0),
        ):
            with pytest.raises(TypeError):
                await call
        with path.open("rb") as file:
            for call in (
                headrace.os.read(file.fileno(), -1),
                headrace.os.pread(file.fileno(), -1, 0),
                headrace.os.pread(file.fileno(), 1, -1),
            ):
                with pytest.raises(OSError, match="Invalid argument"):
                    await call
            await headrace.os.fsync(file)
            await headrace.os.fdatasync(file)
        with pytest.raises(ValueError, match="negative"):
            await headrace.os.splice(0, 1, -1)

    run(main())


@pytest.mark.parametrize("name", ["stat", "unlink", "mkdir", "readlink"])
def test_null_byte_in_a_name_is_refused(run, name):
    async def main():
        with pytest.raises(ValueError, match="null"):
            await getattr(headrace.os, name)("a\0b")

    run(main())


def test_descriptors_are_opened_read_written_and_closed(run, path):
    async def main():
        fd = await headrace.os.open(path, os.O_RDWR)
        assert not os.get_inheritable(fd)
        assert await headrace.os.read(fd, 4) == b"cont"
        assert await headrace.os.read(fd, 100) == b"ents"
        assert await headrace.os.read(fd, 100) == b""
        assert await headrace.os.write(fd, b"!") == 1
        assert await headrace.os.pread(fd, 3, 6) == b"ts!"
        assert await headrace.os.pwrite(fd, b"C", 0) == 1
        await headrace.os.fsync(fd)
        await headrace.os.fdatasync(fd)
        assert path.read_bytes() == b"Contents!"
        await headrace.os.ftruncate(fd, 3)
        await headrace.os.close(fd)
        assert path.read_bytes() == b"Con"
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)

    run(main())


def test_folder_is_listed_and_scanned(run, tmp_path):
    for number in range(300):
        (tmp_path / str(number)).touch()

    async def main():
        expected = sorted(os.listdir(tmp_path))
        assert sorted(await headrace.os.listdir(tmp_path)) == expected
        async with headrace.os.scandir(tmp_path) as entries:
            assert sorted([entry.name async for entry in entries]) == expected
        assert [entry.is_file() async for entry in headrace.os.scandir(tmp_path)] == [True] * 300
        entries = headrace.os.scandir(tmp_path / "missing")
        with pytest.raises(FileNotFoundError):
            await anext(entries)

    run(main())


def test_splice_waits_for_the_pipe_and_moves_bytes(run, path):
    async def main():
        reader, writer = os.pipe()
        target = os.open(path, os.O_RDWR)
        try:
            moving = asyncio.ensure_future(headrace.os.splice(reader, target, 100, offset_dst=4))
            await asyncio.sleep(0.01)
            assert not moving.done()
            os.write(writer, b"moved")
            assert await moving == 5
            assert path.read_bytes() == b"contmoved"
            assert await headrace.os.splice(target, writer, 4, offset_src=0) == 4
            assert os.read(reader, 100) == b"cont"
            os.close(writer)
            writer = -1
            assert await headrace.os.splice(reader, target, 100) == 0
        finally:
            for fd in (reader, writer, target):
                if fd >= 0:
                    os.close(fd)

    run(main())


def test_splice_that_is_cancelled_takes_nothing(run, path):
    async def main():
        reader, writer = os.pipe()
        target = os.open(path, os.O_RDWR)
        try:
            moving = asyncio.ensure_future(headrace.os.splice(reader, target, 100))
            await asyncio.sleep(0.01)
            moving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await moving
            os.write(writer, b"kept")
            assert os.read(reader, 100) == b"kept"
        finally:
            for fd in (reader, writer, target):
                os.close(fd)

    run(main())


def test_sendfile_waits_for_the_socket(run, tmp_path):
    contents = os.urandom(3_000_000)
    path = tmp_path / "large"
    path.write_bytes(contents)

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs, path.open("rb") as file:
            ours.setblocking(False)
            theirs.setblocking(False)

            async def send():
                sent = 0
                while sent < len(contents):
                    sent += await headrace.os.sendfile(
                        ours.fileno(), file.fileno(), sent, len(contents) - sent
                    )

            sending = asyncio.ensure_future(send())
            received = bytearray()
            while len(received) < len(contents):
                received += await loop.sock_recv(theirs, 100_000)
            await sending
        assert received == contents

    run(main())


def test_public_names_are_functions_of_os():
    for name in headrace.os.__all__:
        assert hasattr(os, name)
        assert getattr(headrace.os, name).__doc__
    assert errno  # the module's own names stay out of the way


def test_large_transfers_by_the_descriptors_own_position_stay_in_one_piece(run, tmp_path):
    """Two tasks on one descriptor: the bytes of neither come between the other's."""
    path = tmp_path / "file"
    size = 3 << 20

    async def main():
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            counts = await asyncio.gather(*(headrace.os.write(fd, c * size) for c in (b"a", b"b")))
            assert counts == [size, size]
            assert path.read_bytes() in (b"a" * size + b"b" * size, b"b" * size + b"a" * size)
            os.lseek(fd, 0, os.SEEK_SET)
            pieces = await asyncio.gather(headrace.os.read(fd, size), headrace.os.read(fd, size))
            assert sorted(pieces) == [b"a" * size, b"b" * size]
        finally:
            os.close(fd)

    run(main())
