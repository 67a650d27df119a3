"""Binary files do what the built-in open()'s do, on every loop, whoever does the work."""

import asyncio
import io
import itertools
import os
import random
import threading

import pytest

import headrace

CONTENTS = bytes(random.Random(5).randbytes(300_000))
LINES = b"".join(b"line %d\n" % number * (number % 7) for number in range(3000)) + b"no newline"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(CONTENTS)
    return file


def test_read_gives_all_of_the_file(run, opened, path):
    async def main():
        async with opened(path, "rb") as file:
            assert await file.read() == CONTENTS
            assert await file.read() == b""
            assert file.tell() == len(CONTENTS)

    run(main())


def test_read_of_sizes_gives_as_many_bytes(run, opened, path):
    async def main():
        async with opened(path, "rb") as file:
            place = 0
            for size in itertools.cycle((0, 1, 100, 8192, 70_000, 65_536, 3)):
                data = await file.read(size)
                assert data == CONTENTS[place : place + size]
                place += len(data)
                assert file.tell() == place
                if place == len(CONTENTS):
                    break

    run(main())


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_end_as_with_the_builtin(run, opened, tmp_path, seed):
    """Reads, writes, seeks and truncations in any order, beside the built-in open()."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for file in (ours, theirs):
        file.write_bytes(CONTENTS[:50_000])

    async def main():
        source = random.Random(seed)
        buffering = source.choice((-1, 0, 512, 4096))
        with open(theirs, "r+b", buffering=buffering) as oracle:
            async with opened(ours, "r+b", buffering=buffering) as file:
                for _ in range(300):
                    await one_operation(source, file, oracle)
        assert ours.read_bytes() == theirs.read_bytes()

    async def one_operation(source, file, oracle):
        what = source.choice(("read", "write", "seek", "line", "truncate", "all", "into", "flush"))
        size = source.choice((0, 1, 10, 500, 5000, 20_000))
        if what == "read":
            assert await file.read(size) == oracle.read(size)
        elif what == "write":
            data = source.randbytes(size)
            assert await file.write(data) == oracle.write(data)
        elif what == "seek":
            place = source.randrange(60_000)
            assert await file.seek(place) == oracle.seek(place)
        elif what == "line":
            assert await file.readline(2000) == oracle.readline(2000)
        elif what == "truncate" and size == 500:
            assert await file.truncate() == oracle.truncate()
        elif what == "all" and size == 500:
            assert await file.read() == oracle.read()
        elif what == "into":
            one, other = bytearray(size), bytearray(size)
            assert await file.readinto(one) == oracle.readinto(other)
            assert one == other
        elif what == "flush":
            await file.flush()
            oracle.flush()
        assert file.tell() == oracle.tell()

    run(main())


def test_seek_after_a_read_past_the_buffer_reads_that_place(run, opened, path):
    """What was read ahead before it belongs to another place."""

    async def main():
        async with opened(path, "rb") as file:
            assert await file.read(8192) == CONTENTS[:8192]
            assert await file.read(70_000) == CONTENTS[8192:78_192]
            await file.seek(75_000)
            assert await file.read(16) == CONTENTS[75_000:75_016]
        async with opened(path, "rb") as file:
            assert await file.read(8192) == CONTENTS[:8192]
            assert await file.readinto(bytearray(100)) == 100
            await file.seek(8192)
            assert await file.read(16) == CONTENTS[8192:8208]

    run(main())


def test_lines_are_those_of_the_builtin(run, opened, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(LINES)
    expected = LINES.splitlines(keepends=True)

    async def main():
        async with opened(path, "rb") as file:
            assert [line async for line in file] == expected
            await file.seek(0)
            assert await file.readlines() == expected
            await file.seek(0)
            assert await file.readlines(100) == builtin_readlines(100)
            await file.seek(0)
            assert [await file.readline(3) for _ in range(10)] == builtin_lines_of_three()

    def builtin_readlines(hint):
        with open(path, "rb") as file:
            return file.readlines(hint)

    def builtin_lines_of_three():
        with open(path, "rb") as file:
            return [file.readline(3) for _ in range(10)]

    run(main())


def test_readline_finds_a_newline_beyond_the_buffer(run, opened, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 200_000 + b"\nend")

    async def main():
        async with opened(path, "rb") as file:
            assert len(await file.readline()) == 200_001
            assert await file.readline() == b"end"
            assert await file.readline() == b""

    run(main())


def test_pread_and_pwrite_leave_the_position(run, opened, path):
    async def main():
        async with opened(path, "r+b") as file:
            assert await file.read(10) == CONTENTS[:10]
            assert await file.pread(100, 5000) == CONTENTS[5000:5100]
            assert await file.pwrite(b"here", 5000) == 4
            assert await file.pread(8, 4998) == CONTENTS[4998:5000] + b"here" + CONTENTS[5004:5006]
            assert await file.pread(10, len(CONTENTS)) == b""
            assert await file.pread(10, len(CONTENTS) - 4) == CONTENTS[-4:]
            assert file.tell() == 10
            assert await file.read(10) == CONTENTS[10:20]

    run(main())


@pytest.mark.parametrize(("before", "size"), [(10, 100_000), (8190, 20)])
def test_pwrite_leaves_a_read_that_waits_alone(run, slowly, path, before, size):
    """The read has its turn, and bytes that it had read ahead."""

    async def main():
        async with slowly(path, "r+b") as file:
            await file.read(before)
            reading = asyncio.create_task(file.read(size))
            await asyncio.sleep(0)
            writing = asyncio.create_task(file.pwrite(b"elsewhere", 200_000))
            assert await reading == CONTENTS[before : before + size]
            await writing
            place = before + size
            assert file.tell() == place
            assert await file.read(16) == CONTENTS[place : place + 16]

    run(main())


@pytest.mark.parametrize("reader", ["read", "readline", "readinto", "seek", "peek", "read1"])
@pytest.mark.parametrize("cancels", [False, True])
def test_pwrite_that_has_ended_is_seen_by_the_next_read(run, slowly, tmp_path, reader, cancels):
    """Also if others have read ahead while it was on its way."""
    path = tmp_path / "file"

    async def main():
        path.write_bytes(b"old\n" * 10_000)
        async with slowly(path, "r+b") as file:
            writing = asyncio.create_task(file.pwrite(b"new\n" * 10_000, 0))
            await asyncio.sleep(0)
            assert len(await file.read(8)) == 8
            if cancels:
                writing.cancel()
            await asyncio.wait([writing])
            if path.read_bytes() == b"new\n" * 10_000:
                assert await read_four(file) == b"new\n"

    async def read_four(file):
        if reader == "readline":
            return await file.readline()
        if reader == "readinto":
            memory = bytearray(4)
            await file.readinto(memory)
            return bytes(memory)
        if reader == "peek":
            return (await file.peek())[:4]
        if reader == "seek":
            await file.seek(4)
            return await file.read(4)
        return await getattr(file, reader)(4)

    run(main())


def test_pread_sees_what_was_written_before(run, opened, path):
    async def main():
        async with opened(path, "w+b") as file:
            await file.write(b"in the buffer")
            assert await file.pread(13, 0) == b"in the buffer"

    run(main())


def test_write_is_kept_until_the_buffer_is_full(run, opened, path):
    async def main():
        async with opened(path, "wb", buffering=100) as file:
            await file.write(b"a" * 60)
            assert path.stat().st_size == 0
            await file.write(b"b" * 60)
            assert path.read_bytes() == b"a" * 60
            await file.write(b"c" * 1000)
            assert path.stat().st_size == 1120
            await file.write(b"d")
            assert file.tell() == 1121
            await file.flush()
            assert path.stat().st_size == 1121

    run(main())


def test_write_takes_any_contiguous_bytes(run, opened, path):
    async def main():
        async with opened(path, "wb") as file:
            for data in (b"12", bytearray(b"34"), memoryview(b"5678")[1:3]):
                assert await file.write(data) == 2
            await file.writelines([b"9", b"0"])
            for refused in ("text", 5, None):
                with pytest.raises(TypeError):
                    await file.write(refused)
            with pytest.raises(BufferError):
                await file.write(memoryview(b"1234")[::2])

    run(main())
    assert path.read_bytes() == b"12346790"


def test_append_writes_at_the_end_and_says_where(run, opened, path):
    async def main():
        async with opened(path, "a+b") as file:
            assert file.tell() == len(CONTENTS)
            with open(path, "ab") as other:
                other.write(b"others")
            await file.write(b"ours")
            await file.flush()
            assert file.tell() == len(CONTENTS) + 10
            await file.seek(2)
            assert await file.read(3) == CONTENTS[2:5]
            await file.write(b"!")
            await file.flush()
            assert file.tell() == len(CONTENTS) + 11

    run(main())
    assert path.read_bytes() == CONTENTS + b"othersours!"


def test_exclusive_creation_refuses_a_file_that_is_there(run, path, tmp_path):
    async def main():
        with pytest.raises(FileExistsError) as caught:
            await headrace.open(path, "xb")
        assert caught.value.filename == str(path)
        async with headrace.open(tmp_path / "new", "xb") as file:
            await file.write(b"new")

    run(main())
    assert (tmp_path / "new").read_bytes() == b"new"


def test_seek_knows_each_whence(run, opened, path):
    async def main():
        async with opened(path, "rb") as file:
            assert await file.seek(10) == 10
            assert await file.seek(5, os.SEEK_CUR) == 15
            assert await file.read(2) == CONTENTS[15:17]
            assert await file.seek(-2, os.SEEK_CUR) == 15
            assert await file.seek(-10, os.SEEK_END) == len(CONTENTS) - 10
            assert await file.read() == CONTENTS[-10:]
            assert await file.seek(0, os.SEEK_DATA) == 0
            with pytest.raises(ValueError, match="negative seek"):
                await file.seek(-1)
            with pytest.raises(OSError, match="Invalid argument"):
                await file.seek(-1_000_000, os.SEEK_CUR)
            with pytest.raises(ValueError, match="whence"):
                await file.seek(0, 9)

    run(main())


def test_unbuffered_file_answers_what_one_call_brings(run, opened, path):
    async def main():
        async with opened(path, "r+b", buffering=0) as file:
            assert await file.read(100) == CONTENTS[:100]
            assert await file.write(b"direct") == 6
            assert path.read_bytes()[100:106] == b"direct"
            assert await file.read() == CONTENTS[106:]

    run(main())


def test_two_tasks_that_read_one_file_share_it(run, opened, path):
    """Each byte comes once, and what one task gets is in one piece."""

    async def reader(file):
        found = []
        while data := await file.read(1000):
            found.append((file.tell(), data))
            await asyncio.sleep(0)
        return found

    async def main():
        async with opened(path, "rb") as file:
            pieces = await asyncio.gather(*(reader(file) for _ in range(4)))
        got = [data for found in pieces for _, data in found]
        places = {CONTENTS.index(data) for data in got}
        assert places == set(range(0, len(CONTENTS), 1000))
        assert sum(map(len, got)) == len(CONTENTS)

    run(main())


def test_many_preads_run_side_by_side(run, opened, path):
    async def main():
        async with opened(path, "rb") as file:
            places = [random.randrange(len(CONTENTS)) for _ in range(500)]
            answers = await asyncio.gather(*(file.pread(4096, place) for place in places))
            for place, answer in zip(places, answers, strict=True):
                assert answer == CONTENTS[place : place + 4096]

    run(main())


def test_reader_of_cached_data_lets_others_run(run, turns, path):
    """What never waits gives way all the same."""

    async def main():
        async with headrace.open(path, "rb") as file, turns.counted():
            for number in range(5000):
                await file.pread(4096, number * 10)
            assert turns.count > 5000 * 4096 * 2 // (1 << 20) // 2

    run(main())


@pytest.mark.parametrize("how", ["read", "read of a size", "pread", "readinto", "unbuffered"])
def test_one_large_read_lets_others_run(run, turns, tmp_path, how):
    """Whatever its size, it goes by pieces of the budget."""
    path = tmp_path / "large"
    path.write_bytes(CONTENTS * 40)
    size = len(CONTENTS) * 40

    async def read_by(file):
        if how == "pread":
            return await file.pread(size, 0)
        if how == "readinto":
            memory = bytearray(size)
            assert await file.readinto(memory) == size
            return bytes(memory)
        first = b"" if how == "unbuffered" else await file.read(10)
        return first + await file.read(-1 if how == "read" else size - len(first))

    async def main():
        async with headrace.open(path, "rb", buffering=0 if how == "unbuffered" else -1) as file:
            async with turns.counted():
                assert await read_by(file) == CONTENTS * 40
                assert turns.count >= 6

    run(main())


def test_modes_are_those_of_the_builtin(run, tmp_path):
    async def main():
        for mode in ("rb", "wb", "ab", "r+b", "w+b", "a+b", "br", "xb", "x+b"):
            path = tmp_path / mode
            if "x" not in mode:
                path.write_bytes(b"contents")
            with open(path, mode, buffering=0) as oracle:
                expected = (oracle.mode, oracle.readable(), oracle.writable(), oracle.tell())
            if "x" in mode:
                path.unlink()
            async with headrace.open(path, mode) as file:
                assert expected == (file.mode, file.readable(), file.writable(), file.tell())
                assert (file.name, file.seekable(), file.isatty()) == (str(path), True, False)

    run(main())


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("rw",), {}),
        (("",), {}),
        (("b",), {}),
        (("rbt",), {}),
        (("rr",), {}),
        (("q",), {}),
        ((5,), {}),
        (("r", 0), {}),
        (("rb",), {"encoding": "utf-8"}),
        (("rb",), {"errors": "strict"}),
        (("rb",), {"newline": ""}),
        (("r",), {"newline": "x"}),
        (("r",), {"encoding": "no such"}),
    ],
)
def test_wrong_arguments_are_refused_as_by_the_builtin(tmp_path, arguments, keywords):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises((ValueError, TypeError, LookupError)) as theirs:
        open(path, *arguments, **keywords)  # noqa: SIM115
    with pytest.raises(type(theirs.value)):
        headrace.open(path, *arguments, **keywords)


def test_line_buffering_of_a_binary_file_warns(run, tmp_path):
    async def main():
        with pytest.warns(RuntimeWarning, match="line buffering"):
            opening = headrace.open(tmp_path / "file", "wb", buffering=1)
        await (await opening).aclose()

    run(main())


def test_what_the_mode_does_not_allow_is_unsupported(run, path):
    async def main():
        async with headrace.open(path, "wb") as file:
            for call in (file.read, file.readline, file.read1, file.peek):
                with pytest.raises(io.UnsupportedOperation):
                    await call()
            with pytest.raises(io.UnsupportedOperation):
                await file.pread(1, 0)
        async with headrace.open(path, "rb") as file:
            with pytest.raises(io.UnsupportedOperation):
                await file.write(b"")
            with pytest.raises(io.UnsupportedOperation):
                await file.truncate()

    run(main())


def test_closed_file_says_so(run, path):
    async def main():
        file = await headrace.open(path, "r+b")
        await file.close()
        await file.close()
        assert file.closed
        for call in (file.read, file.readline, file.flush, file.fsync, file.truncate, file.peek):
            with pytest.raises(ValueError, match="closed file"):
                await call()
        for call in (file.tell, file.fileno, file.readable, file.isatty, file.__aiter__):
            with pytest.raises(ValueError, match="closed file"):
                call()
        with pytest.raises(ValueError, match="closed file"):
            await file.write(b"")
        with pytest.raises(ValueError, match="closed file"):
            async with file:
                pass

    run(main())


def test_sync_calls_reach_the_disk(run, opened, path):
    async def main():
        async with opened(path, "wb") as file:
            await file.write(b"kept")
            await file.fsync()
            assert path.read_bytes() == b"kept"
            await file.write(b"!")
            await file.fdatasync()
            assert path.read_bytes() == b"kept!"

    run(main())


def test_truncate_cuts_and_extends(run, opened, path):
    async def main():
        async with opened(path, "r+b") as file:
            await file.seek(100)
            assert await file.truncate() == 100
            assert await file.truncate(200) == 200
            assert file.tell() == 100
            assert await file.read() == bytes(100)

    run(main())


def test_file_of_a_descriptor_closes_it(run, path):
    async def main():
        fd = os.open(path, os.O_RDONLY)
        async with headrace.open(fd, "rb") as file:
            assert file.name == fd == file.fileno()
            assert await file.read(5) == CONTENTS[:5]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    run(main())


def test_file_that_is_not_closed_warns_and_is_written(run, path):
    async def main():
        file = await headrace.open(path, "wb")
        await file.write(b"not lost")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file

    run(main())
    assert path.read_bytes() == b"not lost"


def test_file_outlives_its_loop(loop, path):
    file = loop.run_until_complete(opened_once(path))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()

    async def rest():
        assert await file.read() == CONTENTS[10:]
        await file.close()

    asyncio.run(rest())


async def opened_once(path):
    file = await headrace.open(path, "rb")
    assert await file.read(10) == CONTENTS[:10]
    return file


def test_open_can_be_gathered_and_is_described(run, path):
    async def main():
        opening = headrace.open(path)
        assert "Opening" in repr(opening)
        await (await opening).aclose()
        files = await asyncio.gather(headrace.open(path, "rb"), headrace.open(path, "rb"))
        assert "fd=" in repr(files[0])
        for file in files:
            await file.aclose()
        assert "closed" in repr(files[0])

    run(main())


def test_file_works_in_a_forked_child(run, path):
    """In the child the loop is another; the file's descriptor and position are the same."""

    async def main():
        return await headrace.open(path, "rb")

    file = run(main())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            data = []

            def work():
                data.append(asyncio.new_event_loop().run_until_complete(file.read(100)))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            code = 0 if data == [CONTENTS[:100]] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    async def rest():
        assert await file.read(100) == CONTENTS[:100]
        await file.close()

    run(rest())


def test_open_that_is_never_awaited_warns(path):
    with pytest.warns(RuntimeWarning, match=r"Opening '.*file' mode='wb'> was never awaited"):
        headrace.open(path, "wb")
    assert path.read_bytes() == CONTENTS
