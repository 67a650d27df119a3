"""The contract with bare operations: reading from pipes and terminals, writing to them."""

import errno
import os

import pytest

from headrace.core.buffer_pool import BufferPool
from headrace.core.operation import (
    NOT_DONE,
    WAITS_READABLE,
    PollOperation,
    ReceiveBytesOperation,
    ReceiveOperation,
    SendOperation,
)

LARGE = os.urandom(1_000_000)
SMALL_BYTES = 100


@pytest.fixture(params=["pipe", "terminal"])
def ends(request, pipes):
    """Where to read, and where to write what is read there."""
    return getattr(pipes, request.param)()


def read(end, pool=None):
    return ReceiveOperation(end.fileno(), scratch=pool or BufferPool(1, 65536))


def write(end, data):
    return SendOperation(end.fileno(), data, pipe=True)


def test_read_delivers_data_that_was_there_before(driver, ends):
    reader, writer = ends
    os.write(writer.fileno(), b"early")
    record = driver.start(read(reader))
    driver.run_until(lambda: record.data == b"early")
    driver.stop_and_settle(record)


def test_read_delivers_data_that_comes_later(driver, ends):
    reader, writer = ends
    record = driver.start(read(reader))
    driver.settle()
    assert record.results == []
    os.write(writer.fileno(), b"late")
    driver.run_until(lambda: record.data == b"late")
    driver.stop_and_settle(record)


def test_read_delivers_piece_after_piece_in_order(driver, ends):
    reader, writer = ends
    record = driver.start(read(reader))
    expected = b""
    for number in range(20):
        piece = bytes([number]) * (number + 1)
        os.write(writer.fileno(), piece)
        expected += piece
        driver.run_until(lambda expected=expected: record.data == expected)
    driver.stop_and_settle(record)


def test_read_delivers_all_when_the_buffer_is_smaller(driver, ends):
    reader, writer = ends
    record = driver.start(read(reader, BufferPool(1, SMALL_BYTES)))
    data = LARGE[: SMALL_BYTES * 10]
    os.write(writer.fileno(), data)
    driver.run_until(lambda: record.data == data)
    assert len(record.results) >= 10
    driver.stop_and_settle(record)


def test_read_of_a_pipe_in_packet_mode_delivers_every_packet(driver, pipes):
    """A packet is a short read, and yet there is more."""
    reader, writer = pipes.pipe(os.O_DIRECT)
    packets = [bytes([number]) * 10 for number in range(8)]
    for packet in packets:
        os.write(writer.fileno(), packet)
    record = driver.start(read(reader))
    driver.run_until(lambda: record.data == b"".join(packets))
    assert record.results == [10] * len(packets)
    driver.stop_and_settle(record)


def test_read_of_lines_from_a_terminal_delivers_every_line(driver, pipes):
    """A line is a short read, and yet there is more."""
    master, terminal = os.openpty()
    writer, reader = pipes.keep(master, "r+b"), pipes.keep(terminal, "r+b")
    os.write(writer.fileno(), b"one\ntwo\nthree\n")
    record = driver.start(read(reader))
    driver.run_until(lambda: record.data == b"one\ntwo\nthree\n")
    assert record.results == [4, 4, 6]
    driver.stop_and_settle(record)


def test_read_ends_with_zero_when_the_writer_closes(driver, pipes):
    reader, writer = pipes.pipe()
    record = driver.start(read(reader))
    os.write(writer.fileno(), b"last words")
    writer.close()
    driver.run_until_ended(record)
    assert record.data == b"last words"
    assert record.results[-1] == 0


def test_read_ends_with_an_error_when_the_terminal_hangs_up(driver, pipes):
    reader, writer = pipes.terminal()
    record = driver.start(read(reader))
    os.write(writer.fileno(), b"last words")
    driver.run_until(lambda: record.data == b"last words")
    writer.close()
    driver.run_until_ended(record)
    assert record.results[-1] == -errno.EIO


def test_read_that_is_stopped_leaves_the_rest_in_the_pipe(driver, ends):
    reader, writer = ends
    record = driver.start(read(reader))
    driver.settle()
    driver.stop_and_settle(record)
    os.write(writer.fileno(), b"not for it")
    driver.settle()
    assert record.data == b""
    second = driver.start(read(reader))
    driver.run_until(lambda: second.data == b"not for it")
    driver.stop_and_settle(second)


def test_read_can_be_stopped_by_its_own_callback(driver, ends):
    reader, writer = ends
    record = driver.start(read(reader, BufferPool(1, 1)), then=driver.stop)
    os.write(writer.fileno(), b"ab")
    driver.run_until(lambda: record.is_over)
    assert record.data == b"a"
    assert os.read(reader.fileno(), 10) == b"b"


def test_read_goes_on_after_its_callback_has_ended_the_run(driver, loop, ends):
    reader, writer = ends
    interrupts = iter([KeyboardInterrupt])

    def interrupt_once(_):
        for interrupt in interrupts:
            raise interrupt

    record = driver.start(read(reader), then=interrupt_once)
    os.write(writer.fileno(), b"one")
    with pytest.raises(KeyboardInterrupt):
        driver.run_until(lambda: False)
    os.write(writer.fileno(), b"two")
    driver.run_until(lambda: record.data == b"onetwo")
    driver.stop_and_settle(record)


def test_receive_in_the_callback_of_a_read_waits_for_their_buffer(driver, pipes, sockets):
    """Both go through one buffer of the loop's, and what has been read stands in it still."""
    pool = BufferPool(1, 65536)
    near, far = sockets.tcp_pair()
    far.send(b"data")
    answers = []
    reader, writer = pipes.pipe()
    received = ReceiveBytesOperation(near.fileno(), pool, 100)
    record = driver.start(
        read(reader, pool), then=lambda _: answers.append(driver.model.perform(received))
    )
    os.write(writer.fileno(), b"read")
    driver.run_until(lambda: record.data == b"read")
    assert answers == [NOT_DONE]
    second = driver.start(received)
    driver.run_until_ended(second)
    assert received.data == b"data"
    driver.stop_and_settle(record)


def test_write_arrives(driver, ends):
    reader, writer = ends
    record = driver.start(write(writer, b"hello"))
    driver.run_until_ended(record)
    assert 0 < record.result <= 5
    assert os.read(reader.fileno(), 100) == b"hello"[: record.result]


def test_write_waits_until_the_pipe_has_room(driver, pipes):
    reader, writer = pipes.pipe()
    filled = fill(writer)
    record = driver.start(write(writer, b"one more"))
    driver.settle()
    assert record.results == []
    while filled:
        filled -= len(os.read(reader.fileno(), filled))
    driver.run_until_ended(record)
    assert os.read(reader.fileno(), 100) == b"one more"[: record.result]


def test_write_that_is_stopped_writes_nothing(driver, pipes):
    reader, writer = pipes.pipe()
    filled = fill(writer)
    record = driver.start(write(writer, b"too late"))
    driver.settle()
    driver.stop_and_settle(record)
    while filled:
        filled -= len(os.read(reader.fileno(), filled))
    driver.settle()
    with pytest.raises(BlockingIOError):
        os.read(reader.fileno(), 1)


def fill(writer):
    filled = 0
    try:
        while True:
            filled += os.write(writer.fileno(), LARGE)
    except BlockingIOError:
        return filled


def test_write_after_write_all_arrives_in_order(driver, ends):
    reader, writer = ends
    received = driver.start(read(reader))
    sent = 0
    while sent < len(LARGE):
        record = driver.start(write(writer, LARGE[sent:]))
        driver.run_until_ended(record)
        sent += record.result
    driver.run_until(lambda: len(received.data) == len(LARGE))
    assert received.data == LARGE
    driver.stop_and_settle(received)


def test_write_without_a_reader_ends_with_broken_pipe(driver, pipes):
    reader, writer = pipes.pipe()
    reader.close()
    record = driver.start(write(writer, b"for nobody"))
    driver.run_until_ended(record)
    assert record.result == -errno.EPIPE


def test_write_that_waits_ends_with_broken_pipe_when_the_reader_goes(driver, pipes):
    reader, writer = pipes.pipe()
    fill(writer)
    record = driver.start(write(writer, b"for nobody"))
    driver.settle()
    reader.close()
    driver.run_until_ended(record)
    assert record.result == -errno.EPIPE


def test_poll_of_a_write_end_tells_that_the_reader_has_gone(driver, pipes):
    reader, writer = pipes.pipe()
    record = driver.start(PollOperation(writer.fileno(), WAITS_READABLE))
    driver.settle()
    assert record.results == []
    reader.close()
    driver.run_until_ended(record)
    assert record.result == WAITS_READABLE


def test_statistics_name_reads_and_writes(driver, loop, pipes):
    reader, writer = pipes.pipe()
    sent = driver.start(write(writer, b"counted"))
    received = driver.start(read(reader))
    driver.run_until(lambda: received.data != b"" and sent.ended)
    statistics = loop.statistics()
    assert statistics["operations"]["read"] == 1
    assert statistics["operations"]["write"] == 1
    assert statistics["system_calls"]["read"] >= 1
    assert statistics["system_calls"]["write"] >= 1
    driver.stop_and_settle(received)
