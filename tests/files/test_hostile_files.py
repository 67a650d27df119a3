"""Files that are none, that change, that are full, that wait: each ends as with open()."""

import asyncio
import contextlib
import errno
import io
import os
import pty
import socket
import stat

import pytest

import headrace

FULL = "/dev/full"


def error_of_builtin(*arguments, **keywords):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        open(*arguments, **keywords).close()
    return caught.value


async def error_of_ours(*arguments, **keywords):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        await headrace.open(*arguments, **keywords)
    return caught.value


@pytest.mark.parametrize("mode", ["r", "rb", "w", "ab", "r+b", "x"])
@pytest.mark.parametrize("name", ["missing/file", "file/below", ".", "n" * 300, "loop", ""])
def test_open_fails_as_the_builtin(run, tmp_path, monkeypatch, name, mode):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    theirs = error_of_builtin(name, mode)
    ours = run(error_of_ours(name, mode))
    assert (ours.errno, ours.filename, type(ours)) == (theirs.errno, name, type(theirs))


def test_file_without_permission_is_refused(run, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "secret"
    path.touch(mode=0)
    with pytest.raises(PermissionError) as caught:
        run(error_of_ours(path))
    assert caught.value.filename == str(path)


def test_immutable_system_file_is_refused(run):
    """Also for root: the kernel's word, with the file's name."""
    ours = run(error_of_ours("/proc/self/exe", "r+b"))
    assert ours.errno in (errno.ETXTBSY, errno.EACCES)
    assert ours.filename == "/proc/self/exe"


@pytest.mark.parametrize("buffering", [0, -1])
def test_full_disk_is_an_error_and_the_file_closes(run, opened, buffering):
    async def main():
        async with opened(FULL, "wb", buffering) as file:
            with pytest.raises(OSError, match="No space left") as caught:
                await file.write(b"x" * 100_000)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, FULL)

    run(main())


def test_full_disk_shows_at_the_flush_and_at_the_close(run, opened):
    async def main():
        opening = opened(FULL, "wb")
        file = await opening.__aenter__()
        await file.write(b"kept back")
        for _ in range(2):
            # Nothing is lost, and it is said each time.
            with pytest.raises(OSError, match="No space left"):
                await file.flush()
        assert file.tell() == 9
        with pytest.raises(OSError, match="No space left"):
            await opening.__aexit__(None, None, None)
        assert file.closed

    run(main())


def test_full_disk_of_a_text_file(run):
    async def main():
        with pytest.raises(OSError, match="No space left"):
            async with headrace.open(FULL, "w") as file:
                await file.write("text\n")

    run(main())


def test_file_that_is_truncated_while_it_is_read_ends_early(run, opened, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)

    async def main():
        async with opened(path, "rb") as file:
            assert len(await file.read(10)) == 10
            os.truncate(path, 1000)
            assert len(await file.read()) <= 8192
            assert await file.read() == b""
            assert await file.pread(100, 5000) == b""
            path.write_bytes(b"y" * 300_000)
            assert (await file.read()).strip(b"y") == b""
            assert file.tell() == 300_000

    run(main())


def test_file_that_grows_is_read_on(run, opened, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")

    async def main():
        async with opened(path, "rb") as file:
            assert await file.readline() == b"one\n"
            assert await file.readline() == b""
            with path.open("ab") as log:
                log.write(b"two\n")
            assert await file.readline() == b"two\n"

    run(main())


@pytest.mark.parametrize("name", ["/proc/self/maps", "/proc/cpuinfo", "/sys/class/net/lo/mtu"])
def test_files_without_a_size_are_read_whole(run, opened, name):
    if not os.path.isfile(name):
        pytest.skip(f"{name} is no file here")

    async def main():
        assert os.stat(name).st_size in (0, 4096)
        async with opened(name, "rb") as file:
            data = await file.read()
        assert data.endswith(b"\n")
        async with opened(name) as file:
            assert "".join([line async for line in file]).endswith("\n")

    run(main())


def test_devices_are_read_and_written(run, opened):
    async def main():
        async with opened("/dev/zero", "rb") as file:
            assert await file.read(100_000) == bytes(100_000)
        async with opened("/dev/null", "r+b", 0) as file:
            assert await file.read() == b""
            assert await file.write(b"gone") == 4
        async with opened("/dev/urandom", "rb") as file:
            assert len(await file.read(1000)) == 1000

    run(main())


def make_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path, os.open(path, os.O_RDWR)


def test_fifo_is_waited_for_without_a_thread(run, opened, tmp_path):
    path, peer = make_fifo(tmp_path)

    async def main():
        async with opened(path, "rb") as file:
            assert not file.seekable()
            with pytest.raises(io.UnsupportedOperation):
                file.tell()
            with pytest.raises(io.UnsupportedOperation):
                await file.seek(0)
            reading = [asyncio.ensure_future(file.readline()) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in reading)
            os.write(peer, b"one\ntw")
            assert await reading[0] == b"one\n"
            os.write(peer, b"o\nthree\nrest")
            assert await asyncio.gather(*reading[1:]) == [b"two\n", b"three\n"]
            assert await file.read1() == b"rest"

    run(main())
    os.close(peer)


def test_fifo_ends_when_its_writer_closes(run, opened, tmp_path):
    path, peer = make_fifo(tmp_path)

    async def main():
        async with opened(path, "rb") as file:
            os.write(peer, b"last words")
            reading = asyncio.ensure_future(file.read())
            await asyncio.sleep(0.01)
            os.close(peer)
            assert await reading == b"last words"

    run(main())


def test_full_fifo_is_written_as_its_reader_reads(run, opened, tmp_path):
    path, peer = make_fifo(tmp_path)
    os.set_blocking(peer, False)
    sent = os.urandom(1_000_000)

    async def main():
        async with opened(path, "wb") as file:
            writing = asyncio.ensure_future(file.write(sent))
            received = bytearray()
            while len(received) < len(sent):
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    received += os.read(peer, 65_536)
            assert await writing == len(sent)
        assert received == sent

    run(main())
    os.close(peer)


def test_fifo_read_that_is_cancelled_loses_nothing(run, opened, tmp_path):
    path, peer = make_fifo(tmp_path)

    async def main():
        async with opened(path, "rb") as file:
            for number in range(50):
                reading = asyncio.ensure_future(file.read(6))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                os.write(peer, b"abc")
                for _ in range(number % 3):
                    await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                os.write(peer, b"def")
                assert await file.read(6) == b"abcdef"

    run(main())
    os.close(peer)


def test_close_ends_who_waits_for_a_peer(run, opened, tmp_path):
    path, peer = make_fifo(tmp_path)

    async def main():
        async with opened(path, "rb") as file:
            reading = asyncio.ensure_future(file.read())
            behind = asyncio.ensure_future(file.read(1))
            await asyncio.sleep(0.01)
        for task in (reading, behind):
            with pytest.raises(ValueError, match="closed file"):
                await task

    run(main())
    os.close(peer)


def test_fifo_for_updating_must_be_unbuffered(run, tmp_path):
    path, peer = make_fifo(tmp_path)

    async def main():
        with pytest.raises(io.UnsupportedOperation):
            await headrace.open(path, "r+b")
        async with headrace.open(path, "r+b", buffering=0) as file:
            assert await file.write(b"there and back") == 14
            assert await file.read(100) == b"there and back"

    run(main())
    os.close(peer)


def test_opening_a_fifo_is_cancelled_and_leaves_nothing(run, loop, loop_name, tmp_path):
    """It waits for a peer, within open(2)."""
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main():
        opening = asyncio.ensure_future(headrace.os.open(path, os.O_RDONLY))
        await asyncio.sleep(0.02)
        assert not opening.done()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        if loop_name != "uring":
            # The thread is still there, and opens it now; what it opens is closed.
            os.close(os.open(path, os.O_WRONLY))

    run(main())


def test_terminal_is_read_by_lines(run, opened):
    ours, theirs = pty.openpty()

    async def main():
        async with opened(theirs, "rb") as file:
            assert file.isatty()
            reading = asyncio.ensure_future(file.readline())
            await asyncio.sleep(0.01)
            os.write(ours, b"typed\nmore")
            assert await reading == b"typed\n"
            reading = asyncio.ensure_future(file.readline())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            os.write(ours, b"\n")
            assert await file.readline() == b"more\n"

    run(main())
    os.close(ours)


def test_socket_and_eventfd_are_files_as_well(run):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            async with headrace.open(ours.detach(), "r+b", buffering=0) as file:
                theirs.sendall(b"hello")
                assert await file.read(100) == b"hello"
                await file.write(b"back")
                assert theirs.recv(10) == b"back"
        counter = os.eventfd(0)
        async with headrace.open(counter, "r+b", buffering=0) as file:
            reading = asyncio.ensure_future(file.read(8))
            await asyncio.sleep(0.01)
            os.eventfd_write(counter, 7)
            assert int.from_bytes(await reading, "little") == 7

    run(main())


def test_close_waits_for_reads_in_flight(run, slowly, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096 * 64)

    async def main():
        async with slowly(path, "rb") as file:
            reading = [asyncio.ensure_future(file.pread(4096, 0)) for _ in range(64)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        # Each has ended, with its bytes, or was told in time that the file is closed.
        answers = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(answer) for answer in answers} <= {bytes, ValueError}
        assert all(answer == b"x" * 4096 for answer in answers if isinstance(answer, bytes))

    run(main())


def test_descriptor_closed_behind_the_files_back_is_an_error(run, opened, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    async def main():
        file = await headrace.open(path, "rb")
        os.close(file.fileno())
        with pytest.raises(OSError, match="Bad file descriptor"):
            await file.pread(10, 0)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await file.read()
        await file.close()

    run(main())


def test_mode_of_a_new_file_follows_the_umask(run, tmp_path):
    async def main():
        before = os.umask(0o027)
        try:
            async with headrace.open(tmp_path / "new", "w"):
                pass
        finally:
            os.umask(before)

    run(main())
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_descriptors_run_out_with_the_files_name(run, tmp_path):
    import resource

    async def main():
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        await asyncio.get_running_loop().run_in_executor(None, int)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            ours = await error_of_ours(tmp_path / "new", "w")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert (ours.errno, ours.filename) == (errno.EMFILE, str(tmp_path / "new"))

    run(main())
