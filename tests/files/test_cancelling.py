"""Cancelled: nothing is lost, done twice or left; the position says what was done."""

import asyncio
import contextlib
import errno
import gc
import os
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import headrace
from headrace.core.file_operation import file_read_into
from headrace.files.settling import settle
from headrace.models.simulated import Faults

STORM = 1000


def record(number):
    return f"{number:07d}|".encode() * 8


async def cancel_soon(task, source):
    for _ in range(source.choice((0, 1, 1, 2, 3))):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return None


@pytest.mark.parametrize("buffering", [0, 64, 4096])
def test_storm_of_cancelled_writes_keeps_what_tell_says(run, opened, tmp_path, buffering):
    """Each record is in the file as far as the position has moved, in order, once."""
    path = tmp_path / "file"
    source = random.Random(buffering)

    async def main():
        expected = bytearray()
        async with opened(path, "wb", buffering=buffering) as file:
            for number in range(STORM):
                before = file.tell()
                writing = asyncio.ensure_future(file.write(record(number)))
                await cancel_soon(writing, source)
                expected += record(number)[: file.tell() - before]
                assert file.tell() == len(expected)
        return bytes(expected)

    expected = run(main())
    assert path.read_bytes() == expected
    assert len(expected) > 64


def test_storm_of_cancelled_appends_writes_none_twice(run, slowly, tmp_path):
    path = tmp_path / "log"

    async def main():
        source = random.Random(3)
        expected = bytearray()
        async with slowly(path, "ab", buffering=0) as file:
            for number in range(STORM):
                before = file.tell()
                await cancel_soon(asyncio.ensure_future(file.write(record(number))), source)
                expected += record(number)[: file.tell() - before]
        return bytes(expected)

    assert run(main()) == path.read_bytes()


def test_storm_of_cancelled_reads_delivers_every_byte_once(run, opened, tmp_path):
    path = tmp_path / "file"
    contents = b"".join(map(record, range(2000)))
    path.write_bytes(contents)

    async def main():
        source = random.Random(4)
        found = bytearray()
        async with opened(path, "rb", buffering=512) as file:
            for _ in range(STORM):
                size = source.choice((1, 64, 511, 700))
                reading = asyncio.ensure_future(file.read(size))
                found += await cancel_soon(reading, source) or b""
                assert file.tell() == len(found)
            found += await file.read()
        assert found == contents

    run(main())


def test_storm_of_cancelled_preads_and_pwrites_side_by_side(run, opened, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * STORM))

    async def main():
        async with opened(path, "r+b") as file:
            writing = [
                asyncio.ensure_future(file.pwrite(record(number), 64 * number))
                for number in range(STORM)
            ]
            reading = [
                asyncio.ensure_future(file.pread(64, 64 * number)) for number in range(STORM)
            ]
            await asyncio.sleep(0)
            for task in random.Random(5).sample(writing + reading, STORM):
                task.cancel()
            written = await asyncio.gather(*writing, return_exceptions=True)
            read = await asyncio.gather(*reading, return_exceptions=True)
        for number, answer in enumerate(read):
            if isinstance(answer, bytes):
                assert answer in (bytes(64), record(number))
        return written

    written = run(main())
    contents = path.read_bytes()
    assert len(contents) == 64 * STORM
    for number, answer in enumerate(written):
        piece = contents[64 * number : 64 * number + 64]
        # A cancelled one has happened or not: never in part, never elsewhere.
        assert piece == record(number) if answer == 64 else piece in (bytes(64), record(number))


def test_storm_of_cancelled_name_changes_leaves_names_whole(run, tmp_path):
    (tmp_path / "0").write_bytes(b"contents")

    async def main():
        source = random.Random(6)
        for number in range(300):
            renaming = asyncio.ensure_future(
                headrace.os.rename(tmp_path / str(number), tmp_path / str(number + 1))
            )
            await cancel_soon(renaming, source)
            if not (tmp_path / str(number + 1)).exists():
                # When it was raised the kernel had done with it: it does not happen later.
                os.rename(tmp_path / str(number), tmp_path / str(number + 1))
        assert os.listdir(tmp_path) == ["300"]

    run(main())


def test_storm_of_cancelled_opens_leaves_no_descriptor(run, tmp_path):
    (tmp_path / "file").touch()

    async def main():
        source = random.Random(7)
        for _ in range(300):
            opening = asyncio.ensure_future(headrace.os.open(tmp_path / "file", os.O_RDONLY))
            fd = await cancel_soon(opening, source)
            if fd is not None:
                await headrace.os.close(fd)

    run(main())


def test_cancelled_close_closes_and_writes(run, opened, tmp_path):
    async def main():
        source = random.Random(8)
        for number in range(200):
            path = tmp_path / str(number)
            opening = opened(path, "wb")
            file = await opening.__aenter__()
            await file.write(b"in the buffer")
            await cancel_soon(asyncio.ensure_future(file.close()), source)
            if not file.closed:
                await file.close()  # cancelled before it began
            assert path.read_bytes() == b"in the buffer"

    run(main())


def test_waiting_for_a_turn_is_cancelled_without_a_trace(run, slowly, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 1000)

    async def main():
        async with slowly(path, "rb", buffering=0) as file:
            reading = [asyncio.ensure_future(file.read(10)) for _ in range(100)]
            await asyncio.sleep(0)
            for task in reading[1::2]:
                task.cancel()
            answers = await asyncio.gather(*reading, return_exceptions=True)
            assert [a for a in answers if isinstance(a, bytes)] == [b"0123456789"] * 50
            assert file.tell() == 500

    run(main())


def test_operation_cancelled_by_a_timeout_raises_timeout(run, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    peer = os.open(path, os.O_RDWR)

    async def main():
        async with headrace.open(path, "rb") as file:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await file.read(1)

    run(main())
    os.close(peer)


def test_thread_that_has_begun_is_waited_for(loop, loop_name, slowly, tmp_path):
    """The memory of a write is the thread's until its end, however often it is cancelled."""
    if loop_name == "uring":
        pytest.skip("the ring has no such threads")
    go_on = threading.Event()

    async def main():
        # The only thread is busy, so that the first write stands behind it: it never happens.
        loop.set_default_executor(ThreadPoolExecutor(1))
        async with slowly(tmp_path / "file", "wb", buffering=0) as file:
            busy = loop.run_in_executor(None, go_on.wait, 10)
            writing = asyncio.ensure_future(file.write(b"never"))
            await asyncio.sleep(0.01)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert file.tell() == 0
            go_on.set()
            await busy
            await file.write(b"at last")

    loop.run_until_complete(main())
    assert (tmp_path / "file").read_bytes() == b"at last"


def test_cancelled_read_by_a_thread_ends_with_the_thread(loop, loop_name, tmp_path):
    if loop_name == "uring":
        pytest.skip("the ring has no such threads")
    ours, theirs = os.pipe()

    async def main():
        # A read(2) that blocks in its thread, as on a disk that does not answer.
        memory = bytearray(4)
        operation = file_read_into(ours, memory)
        reading = asyncio.ensure_future(settle(operation))
        while not operation.begun:
            await asyncio.sleep(0.001)
        for _ in range(3):
            reading.cancel()
            await asyncio.sleep(0.001)
        assert not reading.done()
        os.write(theirs, b"late")
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert operation.has_ended
        assert operation.result == 4
        assert memory == b"late"

    loop.run_until_complete(main())
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("seed", range(60))
def test_simulated_faults_lose_and_repeat_nothing(run_simulated, tmp_path, seed):
    """Late, cancelled too late, short, in another order: as the seed has it."""
    path = tmp_path / "file"
    source = random.Random(seed)

    async def main():
        expected = bytearray()
        async with headrace.open(path, "w+b", buffering=source.choice((0, 100, 4096))) as file:
            file.descriptor.nowait_read = file.descriptor.nowait_write = False
            for number in range(60):
                before = file.tell()
                writing = asyncio.ensure_future(file.write(record(number)))
                if source.random() < 0.5:
                    await cancel_soon(writing, source)
                else:
                    await writing
                expected += record(number)[: file.tell() - before]
            await file.seek(0)
            found = bytearray()
            while True:
                reading = asyncio.ensure_future(file.read(50))
                if source.random() < 0.5:
                    found += await cancel_soon(reading, source) or b""
                    continue
                data = await reading
                found += data
                if not data:
                    break
            assert found == expected
        assert path.read_bytes() == expected

    run_simulated(Faults.from_seed(seed), main)


def test_memory_is_kept_until_the_late_end_of_a_cancelled_read(run_simulated, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)

    class Memory(bytearray):
        pass

    async def main():
        async with headrace.open(path, "rb", buffering=0) as file:
            file.descriptor.nowait_read = False
            memory = Memory(1000)
            kept = weakref.ref(memory)
            reading = asyncio.ensure_future(file.readinto(memory))
            del memory
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert kept() is not None
            assert asyncio.get_running_loop()._operations_in_flight()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert not asyncio.get_running_loop()._operations_in_flight()
            del reading
            gc.collect()
            assert kept() is None
            assert file.tell() == 0

    faults = Faults(seed=1, cancel_pending=1.0, late=0.9, late_turns_max=20, not_ready=0.0)
    run_simulated(faults, main)


def test_loop_closed_with_operations_in_flight_keeps_their_memory(model, tmp_path):
    """Nothing crashes, and no descriptor is left."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))
    loop = headrace.new_event_loop(model)

    async def begin():
        file = await headrace.open(path, "rb")
        file.descriptor.nowait_read = False
        tasks = [asyncio.ensure_future(file.pread(100_000, 0)) for _ in range(20)]
        await asyncio.sleep(0)
        return file, tasks

    file, tasks = loop.run_until_complete(begin())
    loop._model.flush()
    for task in tasks:
        task._log_destroy_pending = False
    loop.close()
    asyncio.run(file.close())
    assert file.closed
    del tasks, task, file
    loop._default_executor = None
    wait_until_closed(path)


def wait_until_closed(path):
    """Threads that had begun have ended."""
    while any(target == str(path) for target in descriptors()):
        gc.collect()
        threading.Event().wait(0.001)


def descriptors():
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{entry}")


@pytest.fixture
def ring_loop():
    if not any(info.name == "uring" and info.available for info in headrace.models()):
        pytest.skip("there is no ring here")
    loop = headrace.new_event_loop("uring")
    yield loop
    assert not loop._operations_in_flight()
    loop.close()


def test_ring_takes_back_a_read_that_waits(ring_loop):
    """IORING_OP_READ of an empty pipe, cancelled: nothing was taken, then or later."""
    ours, theirs = os.pipe()

    async def main():
        for number in range(200):
            operation = file_read_into(ours, bytearray(4))
            reading = asyncio.ensure_future(settle(operation))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert operation.result == (-errno.ECANCELED if number % 4 else 0)
            os.write(theirs, b"kept")
            assert os.read(ours, 10) == b"kept"

    ring_loop.run_until_complete(main())
    os.close(ours)
    os.close(theirs)


def test_ring_cancels_too_late_and_says_what_was_read(ring_loop):
    """Cancelled in the same turn as its bytes come: the result tells, whichever was first."""
    ours, theirs = os.pipe()

    async def main():
        found = set()
        for number in range(200):
            operation = file_read_into(ours, bytearray(4))
            reading = asyncio.ensure_future(settle(operation))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            os.write(theirs, b"late")
            if number % 2:
                await asyncio.sleep(0)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert operation.has_ended
            found.add(operation.result)
            if operation.result < 0:
                assert os.read(ours, 10) == b"late"
        assert found <= {4, -errno.ECANCELED}

    ring_loop.run_until_complete(main())
    os.close(ours)
    os.close(theirs)


def test_ring_does_operations_on_files_itself(ring_loop, tmp_path):
    async def main():
        async with headrace.open(tmp_path / "file", "w+b") as file:
            file.descriptor.nowait_read = file.descriptor.nowait_write = False
            await file.write(b"bytes")
            await file.fsync()
            assert await file.pread(5, 0) == b"bytes"
        await headrace.os.rename(tmp_path / "file", tmp_path / "other")
        await headrace.os.stat(tmp_path / "other")
        await headrace.os.unlink(tmp_path / "other")

    ring_loop.run_until_complete(main())
    done = ring_loop.statistics()["operations"]
    for kind in ("open", "write", "sync", "read", "close", "rename", "stat", "remove"):
        assert done[f"file_{kind}"] == 1, kind
    assert ring_loop._default_executor is None


def test_uring_moves_to_another_thread_without_repeating(tmp_path):
    """A write whose end the old ring has not told ends with ECANCELED, and is not done again."""
    if not any(info.name == "uring" and info.available for info in headrace.models()):
        pytest.skip("there is no ring here")
    path = tmp_path / "log"
    loop = headrace.new_event_loop("uring")
    outcomes = []

    async def begin():
        file = await headrace.open(path, "ab", buffering=0)
        file.descriptor.nowait_write = False
        task = asyncio.ensure_future(file.write(b"once"))
        await asyncio.sleep(0)
        return file, task

    file, task = loop.run_until_complete(begin())
    loop._model.flush()

    async def end():
        with contextlib.suppress(OSError):
            outcomes.append(await task)
        await file.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(end(),))
    thread.start()
    thread.join(20)
    loop.close()
    assert path.read_bytes() in ((b"once",) if outcomes else (b"once", b""))
