"""Text files do what the built-in open()'s do: decoding, newlines, places."""

import asyncio
import codecs
import io
import os
import random

import pytest

import headrace

TEXT = "".join(
    random.Random(7).choice(("a", "é", "水", "𝄞", "\n", "\r\n", "\r", " ")) for _ in range(30_000)
)
ENCODINGS = ("utf-8", "utf-16", "utf-8-sig", "utf-32-be", "latin-1", "gb18030", "utf-7")
NEWLINES = (None, "", "\n", "\r", "\r\n")


def text_for(encoding):
    return TEXT if encoding != "latin-1" else TEXT.replace("水", "w").replace("𝄞", "m")


@pytest.fixture(params=["asyncio", "uring"])
def loop_name(request):
    """Threads and the ring: of text no model knows more than of bytes, which all are tried with."""
    available = {info.name for info in headrace.models() if info.available}
    if request.param not in {"asyncio", *available}:
        pytest.skip(f"no {request.param} here")
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text"


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_read_as_by_the_builtin(run, opened, path, encoding, newline):
    path.write_bytes(text_for(encoding).encode(encoding))

    async def main():
        with open(path, encoding=encoding, newline=newline) as oracle:
            expected = oracle.read()
            oracle.seek(0)
            lines = oracle.readlines()
        async with opened(path, encoding=encoding, newline=newline) as file:
            assert await file.read() == expected
            assert await file.seek(0) == 0
            assert await file.readlines() == lines
            await file.seek(0)
            assert [line async for line in file] == lines
            await file.seek(0)
            pieces = []
            while piece := await file.read(997):
                pieces.append(piece)
            assert "".join(pieces) == expected
            assert {len(piece) for piece in pieces[:-1]} <= {997}

    run(main())


@pytest.mark.parametrize("newline", NEWLINES)
def test_limited_lines_are_those_of_the_builtin(run, path, newline):
    path.write_bytes(TEXT.encode())

    async def main():
        with open(path, encoding="utf-8", newline=newline) as oracle:
            async with headrace.open(path, encoding="utf-8", newline=newline) as file:
                for limit in range(3000):
                    assert await file.readline(limit % 11) == oracle.readline(limit % 11)

    run(main())


@pytest.mark.parametrize("newline", [None, ""])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_seek_to_what_tell_said_reads_the_same_again(run, path, encoding, newline):
    path.write_bytes(text_for(encoding)[:3000].encode(encoding) * (1 if "16" in encoding else 3))

    async def main():
        source = random.Random(11)
        with open(path, encoding=encoding, newline=newline) as oracle:
            expected = oracle.read()
        async with headrace.open(path, encoding=encoding, newline=newline) as file:
            places = []
            read = 0
            while read < len(expected):
                if source.random() < 0.1:
                    places.append((file.tell(), read))
                read += len(await file.read(source.choice((1, 2, 3, 50))))
            places.append((file.tell(), read))
            for place, at in source.sample(places, min(len(places), 40)):
                assert await file.seek(place) == place
                assert await file.read(20) == expected[at : at + 20]
                await file.seek(place)
                assert file.tell() == place

    # utf-7 has no places within its shifted sequences, which the builtin does not find either.
    if encoding != "utf-7":
        run(main())


@pytest.mark.parametrize("newline", NEWLINES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_written_as_by_the_builtin(run, opened, tmp_path, encoding, newline):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    text = text_for(encoding)

    async def main():
        with open(theirs, "w", encoding=encoding, newline=newline) as oracle:
            async with opened(ours, "w", encoding=encoding, newline=newline) as file:
                for start in range(0, len(text), 501):
                    piece = text[start : start + 501]
                    assert await file.write(piece) == oracle.write(piece)
        with open(theirs, "a", encoding=encoding, newline=newline) as oracle:
            async with opened(ours, "a", encoding=encoding, newline=newline) as file:
                await file.writelines(["more\n", "and more"])
                oracle.writelines(["more\n", "and more"])

    run(main())
    assert ours.read_bytes() == theirs.read_bytes()


def test_truncate_of_an_appended_file_cuts_nothing_that_was_there(run, opened, path):
    """Where tell() is does not say where what is appended will stand."""
    path.write_text("x" * 110)

    async def main():
        async with opened(path, "a") as file:
            await file.seek(0)
            await file.write("end")
            assert await file.truncate() == 113

    run(main())
    assert path.read_text() == "x" * 110 + "end"


@pytest.mark.parametrize("mode", ["r", "rb"])
@pytest.mark.parametrize("how", ["lines", "readline", "read"])
def test_buffered_reader_lets_others_run(run, turns, tmp_path, mode, how):
    path = tmp_path / "lines"
    path.write_text("line\n" * 20_000)

    async def main():
        async with headrace.open(path, mode) as file, turns.counted():
            if how == "lines":
                assert len([line async for line in file]) == 20_000
            elif how == "readline":
                assert len([await file.readline() for _ in range(20_000)]) == 20_000
            else:
                assert len([await file.read(5) for _ in range(20_000)]) == 20_000
            assert turns.count > 20

    run(main())


@pytest.mark.parametrize(("mode", "data"), [("w", "x\n"), ("wb", b"x\n")])
def test_buffered_writer_lets_others_run_and_keeps_the_order(run, turns, tmp_path, mode, data):
    path = tmp_path / "written"

    async def main():
        async with headrace.open(path, mode) as file, turns.counted():
            for _ in range(20_000):
                assert await file.write(data) == 2
            first, second = data[:1] * 2, data[1:] * 2
            for _ in range(5_000):
                await asyncio.gather(file.write(first), file.write(second))
            assert turns.count > 20

    run(main())
    assert path.read_text() == "x\n" * 20_000 + "xx\n\n" * 5_000


def test_line_buffering_writes_at_each_newline(run, opened, path):
    async def main():
        async with opened(path, "w", buffering=1) as file:
            assert file.line_buffering
            await file.write("begun")
            assert path.read_text() == ""
            await file.write(", ended\n")
            assert path.read_text() == "begun, ended\n"

    run(main())


def test_errors_are_handled_as_asked(run, path):
    path.write_bytes(b"good \xff bad")

    async def main():
        async with headrace.open(path, encoding="utf-8") as file:
            with pytest.raises(UnicodeDecodeError):
                await file.read()
        async with headrace.open(path, encoding="utf-8", errors="replace") as file:
            assert await file.read() == "good � bad"
        async with headrace.open(path, "w", encoding="ascii") as file:
            assert file.errors == "strict"
            with pytest.raises(UnicodeEncodeError):
                await file.write("é")

    run(main())


def test_character_cut_by_the_end_is_an_error(run, path):
    path.write_bytes("é".encode()[:1])

    async def main():
        async with headrace.open(path, encoding="utf-8") as file:
            with pytest.raises(UnicodeDecodeError):
                await file.readline()

    run(main())


def test_character_across_chunks_is_whole(run, opened, path):
    for shift in range(4):
        path.write_bytes(b"x" * (8192 - shift) + "𝄞水é\r\n".encode() + b"y" * 9000)

        async def main():
            async with opened(path, encoding="utf-8") as file:
                line = await file.readline()
                assert line.endswith("𝄞水é\n")
                assert len(await file.read()) == 9000

        run(main())


def test_wrong_types_and_places_are_refused(run, path):
    path.write_text("some\ntext\n")

    async def main():
        async with headrace.open(path, "r+") as file:
            with pytest.raises(TypeError, match="must be str, not bytes"):
                await file.write(b"bytes")
            with pytest.raises(io.UnsupportedOperation, match="cur-relative"):
                await file.seek(1, 1)
            with pytest.raises(io.UnsupportedOperation, match="end-relative"):
                await file.seek(1, 2)
            with pytest.raises(ValueError, match="negative"):
                await file.seek(-1)
            with pytest.raises(ValueError, match="whence"):
                await file.seek(0, 7)
            assert await file.seek(0, 2) == 10
            assert await file.seek(0, 1) == 10
        async with headrace.open(path) as file:
            with pytest.raises(io.UnsupportedOperation):
                await file.write("text")
        async with headrace.open(path, "w") as file:
            with pytest.raises(io.UnsupportedOperation):
                await file.read()

    run(main())


def test_attributes_are_those_of_the_builtin(run, path):
    path.write_text("a\r\nb\n")

    async def main():
        names = ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "closed")
        with open(path, encoding="utf-8") as oracle:
            async with headrace.open(path, encoding="utf-8") as file:
                for _ in range(3):
                    for name in names:
                        expected = getattr(oracle, name)
                        if name == "name":
                            expected = str(path)
                        assert getattr(file, name) == expected, name
                    assert await file.readline() == oracle.readline()
                assert "TextFile" in repr(file)
                assert file.buffer.mode == "rb"
        async with headrace.open(path) as file:
            with open(path) as oracle:
                assert codecs.lookup(file.encoding) == codecs.lookup(oracle.encoding)

    run(main())


def test_tasks_share_the_lines_of_one_file(run, opened, path):
    lines = [f"{number} é\n" for number in range(5000)]
    path.write_text("".join(lines), encoding="utf-8")

    async def reader(file):
        return [line async for line in file]

    async def main():
        async with opened(path, encoding="utf-8") as file:
            found = await asyncio.gather(*(reader(file) for _ in range(5)))
        assert sorted(line for part in found for line in part) == sorted(lines)

    run(main())


def test_truncate_and_write_after_a_read(run, path):
    path.write_text("one\ntwo\nthree\n")

    async def main():
        async with headrace.open(path, "r+") as file:
            assert await file.readline() == "one\n"
            place = file.tell()
            assert place == 4
            await file.seek(place)
            await file.write("2")
            await file.truncate(8)
            await file.fsync()
            await file.fdatasync()
        assert path.read_text() == "one\n2wo\n"

    run(main())


def test_place_that_was_sought_is_told_again(run, opened, path):
    """With the half of a newline that the decoder had seen there."""
    path.write_bytes(b"ab\r\rcd\n")

    async def main():
        with open(path, encoding="utf-8") as oracle:
            async with opened(path, encoding="utf-8") as file:
                assert await file.read(3) == oracle.read(3)
                for _ in range(2):
                    assert await file.seek(file.tell()) == oracle.seek(oracle.tell())
                assert await file.read() == oracle.read()

    run(main())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_byte_order_mark_is_looked_for_at_the_beginning_only(run, opened, path, encoding):
    async def main():
        async with opened(path, "w+", encoding=encoding) as file:
            assert file.tell() == 0
            await file.write("one\n")
            assert await file.readline() == ""
            place = file.tell()
            await file.write("two\n")
            await file.seek(place)
            assert await file.read() == "two\n"
            await file.write("three\n")
            end = file.tell()
            assert await file.read() == ""
            await file.write("four\n")
            await file.seek(end)
            assert await file.read() == "four\n"
            await file.seek(0)
            assert await file.readlines() == ["one\n", "two\n", "three\n", "four\n"]

    run(main())


def test_byte_order_of_the_mark_holds_to_the_end_and_beyond(run, opened, path):
    """Other than the machine's, for one of the two."""

    async def read_grown(order):
        path.write_bytes("\ufeffab".encode(order))
        async with opened(path, encoding="utf-16") as file:
            assert await file.read() == "ab"
            for _ in range(2):
                with open(path, "ab") as other:
                    other.write("cd".encode(order))
                place = file.tell()
                assert await file.read() == "cd"
                assert await file.seek(place) == place
                assert await file.read(3) == "cd"
            end = await file.seek(0, os.SEEK_END)
            assert end == file.tell()
            with open(path, "ab") as other:
                other.write("ef".encode(order))
            await file.seek(end)
            assert await file.read() == "ef"

    async def main():
        await read_grown("utf-16-be")
        await read_grown("utf-16-le")

    run(main())


def test_truncate_by_default_cuts_at_a_byte(run, opened, path):
    """Where tell()'s answer has the decoder's flags, too."""
    path.write_bytes(b"ab\r\rcd\n")

    async def main():
        async with opened(path, "r+", encoding="utf-8") as file:
            assert await file.read(3) == "ab\n"
            assert file.tell() > 7
            assert await file.truncate() == 4
        assert path.read_bytes() == b"ab\r\r"

    run(main())


def test_read_of_many_characters_that_is_cancelled_has_not_moved(run, slowly, path):
    text = "é line\n" * 20_000
    path.write_text(text, encoding="utf-8")

    async def main():
        async with slowly(path, encoding="utf-8") as file:
            assert await file.read(5) == text[:5]
            place = file.tell()
            for turns in range(1, 12):
                reading = asyncio.create_task(file.read(100_000))
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
                if not reading.cancelled():
                    break
                assert file.tell() == place
            else:
                assert await file.read(100_000) == text[5:100_005]
            assert await file.read() == text[100_005:]

    run(main())
