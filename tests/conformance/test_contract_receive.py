"""The contract with bare operations: receiving."""

import errno
import os
import socket
import struct

import pytest

from headrace.core.operation import (
    WAITS_READABLE,
    PollOperation,
    ReceiveIntoOperation,
    ReceiveOperation,
)
from headrace.models.contract import CANCEL_CANCELLED, CANCEL_PENDING

PAIRS = ("unix_pair", "tcp_pair")
LARGE = os.urandom(3_000_000)


@pytest.fixture(params=PAIRS)
def pair(request, sockets):
    return getattr(sockets, request.param)()


def reset(sock):
    """Close with an RST: what the peer has not read is lost, and it is told so."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_receive_delivers_data_that_was_there_before(driver, pair):
    left, right = pair
    right.send(b"early")
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until(lambda: record.data == b"early")
    driver.stop_and_settle(record)


def test_receive_delivers_data_that_comes_later(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    assert record.results == []
    right.send(b"late")
    driver.run_until(lambda: record.data == b"late")
    driver.stop_and_settle(record)


def test_receive_delivers_piece_after_piece_in_order(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    expected = b""
    for number in range(20):
        piece = bytes([number]) * (number + 1)
        right.send(piece)
        expected += piece
        driver.run_until(lambda expected=expected: record.data == expected)
    driver.stop_and_settle(record)


def test_receive_ends_with_zero_at_the_end_of_the_stream(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    right.shutdown(socket.SHUT_WR)
    driver.run_until_ended(record)
    assert record.results == [0]


def test_receive_delivers_data_and_end_of_the_same_edge(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    right.send(b"last words")
    right.close()
    driver.run_until_ended(record)
    assert record.data == b"last words"
    assert record.results[-1] == 0


def test_receive_delivers_data_and_end_that_were_there_before(driver, pair):
    left, right = pair
    right.send(b"last words")
    right.close()
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until_ended(record)
    assert record.data == b"last words"
    assert record.results[-1] == 0


def test_receive_can_be_started_again_after_its_end(driver, pair):
    left, right = pair
    right.close()
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until_ended(record)
    again = driver.start(record.operation)
    driver.run_until_ended(again)
    assert again.results == [0]


def test_receive_ends_with_the_reset_of_the_peer(driver, sockets):
    left, right = sockets.tcp_pair()
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    reset(right)
    driver.run_until_ended(record)
    assert record.results == [-errno.ECONNRESET]


def test_receive_fails_on_a_socket_that_is_not_connected(driver, sockets):
    record = driver.start(ReceiveOperation(sockets.tcp().fileno()))
    driver.run_until_ended(record)
    assert record.results == [-errno.ENOTCONN]


def test_receive_takes_a_large_transfer_whole(driver, pair):
    left, right = pair
    rest = memoryview(LARGE)

    def feed(_record=None):
        nonlocal rest
        while rest:
            try:
                rest = rest[right.send(rest) :]
            except BlockingIOError:
                return
        right.shutdown(socket.SHUT_WR)

    record = driver.start(ReceiveOperation(left.fileno()), then=feed)
    feed()
    driver.run_until_ended(record)
    assert record.data == LARGE


def test_receive_serves_more_descriptors_than_there_are_buffers(driver, sockets):
    pairs = [sockets.unix_pair() for _ in range(300)]
    for _, right in pairs:
        right.send(b"all at once")
    records = [driver.start(ReceiveOperation(left.fileno())) for left, _ in pairs]
    driver.run_until(lambda: all(record.data == b"all at once" for record in records))
    driver.stop_and_settle(*records)


# Cancelling.


def test_receive_cancelled_before_any_completion(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])
    right.send(b"for the next one")
    again = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until(lambda: again.data == b"for the next one")
    driver.stop_and_settle(again)


def test_receive_cancelled_at_once_after_its_start(driver, pair):
    left, right = pair
    right.send(b"kept")
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.stop_and_settle(record)
    right.shutdown(socket.SHUT_WR)
    again = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until_ended(again)
    assert record.data + again.data == b"kept"


def test_receive_cancelled_twice_ends_once(driver, pair):
    left, _ = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    first = driver.stop(record)
    assert driver.stop(record) == first
    driver.run_until(lambda: record.is_over)
    assert driver.stop(record) == CANCEL_CANCELLED
    driver.settle()


def test_receive_cancelled_in_its_own_callback_loses_nothing(driver, pair):
    left, right = pair
    record = driver.start(ReceiveOperation(left.fileno()), then=driver.stop)
    right.send(b"first")
    driver.run_until(lambda: record.is_over and bool(record.data))
    right.send(b"second")
    right.shutdown(socket.SHUT_WR)
    again = driver.start(ReceiveOperation(left.fileno()))
    driver.run_until_ended(again)
    assert record.data + again.data == b"firstsecond"


def test_receive_cancelled_while_its_completion_is_queued(driver, sockets):
    """Of two that are ready in the same turn, the first to come up stops the other."""
    pairs = [sockets.unix_pair() for _ in range(2)]
    records = []

    def stop_others(record):
        for other in records:
            if other is not record and not other.is_over:
                driver.stop(other)

    for left, _ in pairs:
        records.append(driver.start(ReceiveOperation(left.fileno()), then=stop_others))
    driver.settle()
    for _, right in pairs:
        right.send(b"queued")
    driver.run_until(lambda: any(record.data for record in records))
    driver.stop_and_settle(*(record for record in records if not record.is_over))
    for record, (left, right) in zip(records, pairs, strict=True):
        right.shutdown(socket.SHUT_WR)
        rest = driver.start(ReceiveOperation(left.fileno()))
        driver.run_until_ended(rest)
        assert record.data + rest.data == b"queued"


def test_receive_cancelled_after_its_end_was_queued(driver, sockets):
    pairs = [sockets.unix_pair() for _ in range(2)]
    records = []

    def stop_others(record):
        for other in records:
            if other is not record and not other.is_over:
                driver.stop(other)

    for left, _ in pairs:
        records.append(driver.start(ReceiveOperation(left.fileno()), then=stop_others))
    driver.settle()
    for _, right in pairs:
        right.close()
    driver.run_until(lambda: all(record.is_over for record in records))
    driver.settle()


def test_receive_in_flight_cannot_be_started_again(driver, pair):
    left, _ = pair
    record = driver.start(ReceiveOperation(left.fileno()))
    with pytest.raises(RuntimeError, match="in flight already"):
        driver.model.start_operation(record.operation)
    if driver.stop(record) == CANCEL_PENDING:
        with pytest.raises(RuntimeError, match="in flight already"):
            driver.model.start_operation(record.operation)
    driver.run_until(lambda: record.is_over)


# One receive into the caller's memory.


def test_receive_into_takes_what_is_there(driver, pair):
    left, right = pair
    right.send(b"short")
    memory = bytearray(100)
    record = driver.start(ReceiveIntoOperation(left.fileno(), memory))
    driver.run_until_ended(record)
    assert memory[: record.result] == b"short"


def test_receive_into_waits_for_data(driver, pair):
    left, right = pair
    memory = bytearray(4)
    record = driver.start(ReceiveIntoOperation(left.fileno(), memory))
    driver.settle()
    assert not record.ended
    right.send(b"abcdef")
    driver.run_until_ended(record)
    assert memory[: record.result] == b"abcd"[: record.result]


def test_receive_into_answers_zero_at_the_end_of_the_stream(driver, pair):
    left, right = pair
    record = driver.start(ReceiveIntoOperation(left.fileno(), bytearray(4)))
    right.close()
    driver.run_until_ended(record)
    assert record.result == 0


def test_receive_into_cancelled_takes_nothing(driver, pair):
    left, right = pair
    memory = bytearray(4)
    record = driver.start(ReceiveIntoOperation(left.fileno(), memory))
    driver.settle()
    right.send(b"data")
    driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])
    assert left.recv(100) == b"data"


def test_receive_into_cancelled_by_a_neighbour_of_the_same_turn_takes_nothing(driver, sockets):
    pairs = [sockets.unix_pair() for _ in range(2)]
    records = []

    def stop_others(record):
        for other in records:
            if other is not record and not other.is_over:
                driver.stop(other)

    for left, _ in pairs:
        operation = ReceiveIntoOperation(left.fileno(), bytearray(10))
        records.append(driver.start(operation, then=stop_others))
    driver.settle()
    for _, right in pairs:
        right.send(b"data")
    driver.run_until(lambda: all(record.is_over for record in records))
    for record, (left, _) in zip(records, pairs, strict=True):
        taken = sum(result for result in record.results if result > 0)
        rest = b"" if taken == 4 else left.recv(100)
        assert taken + len(rest) == 4


# Several operations on one descriptor.


def test_two_receives_on_one_descriptor_share_the_stream(driver, pair):
    left, right = pair
    memories = [bytearray(4), bytearray(4)]
    records = [driver.start(ReceiveIntoOperation(left.fileno(), memory)) for memory in memories]
    driver.settle()
    right.send(b"abcdefgh")
    driver.run_until_ended(*records)
    pieces = [
        bytes(memory[: record.result]) for memory, record in zip(memories, records, strict=True)
    ]
    rest = b"" if sum(map(len, pieces)) == 8 else left.recv(100)
    assert b"abcdefgh" in (pieces[0] + pieces[1] + rest, pieces[1] + pieces[0] + rest)


def test_second_of_two_receives_goes_on_when_the_first_is_cancelled(driver, pair):
    left, right = pair
    records = [driver.start(ReceiveIntoOperation(left.fileno(), bytearray(4))) for _ in range(2)]
    driver.settle()
    driver.stop_and_settle(records[0])
    right.send(b"data")
    driver.run_until_ended(records[1])
    assert records[1].result > 0


def test_poll_in_front_does_not_keep_a_receive_waiting(driver, pair):
    left, right = pair
    watcher = driver.start(PollOperation(left.fileno(), WAITS_READABLE, True))
    record = driver.start(ReceiveIntoOperation(left.fileno(), bytearray(4)))
    driver.settle()
    right.send(b"data")
    driver.run_until_ended(record)
    assert record.result > 0
    driver.stop_and_settle(watcher)


# The descriptor's number.


def test_number_of_a_closed_descriptor_can_be_used_again(driver, sockets):
    left, right = sockets.unix_pair()
    number = left.fileno()
    operation = ReceiveOperation(number)
    operation.owned = True
    record = driver.start(operation)
    driver.settle()
    driver.stop_and_settle(record)
    driver.model.forget(number)
    replacement, peer = sockets.unix_pair()
    os.dup2(replacement.fileno(), number)
    again = driver.start(ReceiveOperation(number))
    right_is_gone = right.close
    right_is_gone()
    peer.send(b"to the new owner")
    driver.run_until(lambda: again.data == b"to the new owner")
    driver.stop_and_settle(again)


def test_close_ends_what_is_in_flight(driver, sockets):
    completions = []
    for start in (ReceiveOperation, lambda fd: ReceiveIntoOperation(fd, bytearray(10))):
        for _ in range(10):
            left, right = sockets.unix_pair()
            driver.start(start(left.fileno()), then=completions.append)
    driver.settle()
    right.send(b"unread")
    driver.loop.close()
    assert len(driver.model.in_flight) == 0
    pool = driver.model.pool
    assert pool is None or pool.idle_count == pool.count
    assert completions == []


def test_close_before_the_first_run_ends_what_is_in_flight(driver, sockets):
    left, right = sockets.unix_pair()
    right.send(b"unread")
    driver.start(ReceiveOperation(left.fileno()))
    driver.start(ReceiveIntoOperation(sockets.unix_pair()[0].fileno(), bytearray(10)))
    driver.loop.close()
    assert len(driver.model.in_flight) == 0
