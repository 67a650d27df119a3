"""The contract with bare operations: datagrams."""

import errno
import os
import socket

import pytest

from headrace.core.buffer_pool import BufferPool
from headrace.core.datagram_operation import (
    DatagramBatch,
    ReceiveBytesFromOperation,
    ReceiveDatagramsOperation,
    ReceiveFromOperation,
    SendToOperation,
)
from headrace.core.operation import KIND_NAMES
from headrace.models.contract import CANCEL_CANCELLED, SUBMIT_COMPLETED

KINDS = ("udp", "unix_datagrams")
COUNT_PER_COMPLETION = 32


@pytest.fixture(params=KINDS)
def make(request, sockets):
    return getattr(sockets, request.param)


@pytest.fixture
def batch():
    return DatagramBatch()


def test_receive_delivers_what_was_there_and_what_comes_with_addresses(driver, make, batch):
    near, far = make(), make()
    far.sendto(b"early", near.getsockname())
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    driver.run_until(lambda: len(record.datagrams) == 1)
    far.sendto(b"", near.getsockname())
    driver.run_until(lambda: len(record.datagrams) == 2)
    near.sendto(b"from itself", near.getsockname())
    driver.run_until(lambda: len(record.datagrams) == 3)
    assert record.datagrams == [
        (b"early", far.getsockname()),
        (b"", far.getsockname()),
        (b"from itself", near.getsockname()),
    ]
    driver.stop_and_settle(record)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
def test_receive_delivers_all_that_came_at_once_in_order(driver, sockets, batch, count):
    near, far = sockets.udp(), sockets.udp()
    sent = [b"%d" % number for number in range(count)]
    for data in sent:
        far.sendto(data, near.getsockname())
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    driver.run_until(lambda: len(record.datagrams) == count)
    assert [data for data, _ in record.datagrams] == sent
    assert max(record.results) <= COUNT_PER_COMPLETION
    driver.settle()
    assert len(record.datagrams) == count
    driver.stop_and_settle(record)


@pytest.mark.parametrize("size", [1, 65_507])
def test_receive_cuts_no_datagram(driver, make, batch, size):
    near, far = make(), make()
    data = os.urandom(size)
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    for _ in range(3):
        far.sendto(data, near.getsockname())
        driver.run_until(lambda: record.datagrams)
        assert record.datagrams.pop() == (data, far.getsockname())
    driver.stop_and_settle(record)


def test_receive_of_several_sockets_mixes_nothing_up(driver, make, batch):
    near, far = [make() for _ in range(10)], make()
    records = [driver.start(ReceiveDatagramsOperation(sock, batch)) for sock in near]
    for turn in range(5):
        for number, sock in enumerate(near):
            far.sendto(b"%d %d" % (number, turn), sock.getsockname())
    driver.run_until(lambda: all(len(record.datagrams) == 5 for record in records))
    for number, record in enumerate(records):
        assert [data for data, _ in record.datagrams] == [
            b"%d %d" % (number, turn) for turn in range(5)
        ]
    driver.stop_and_settle(*records)


def test_receive_ends_with_an_error_and_can_be_started_again(driver, sockets, batch):
    near = sockets.udp()
    nobody = sockets.udp()
    name = nobody.getsockname()
    nobody.close()
    near.connect(name)
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    driver.settle()
    near.send(b"anybody?")
    driver.run_until_ended(record)
    assert record.results == [-errno.ECONNREFUSED]
    again = driver.start(record.operation)
    somebody = sockets.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    somebody.bind(name)
    somebody.sendto(b"me", near.getsockname())
    driver.run_until(lambda: again.datagrams)
    assert again.datagrams == [(b"me", name)]
    driver.stop_and_settle(again)


def test_receive_cancelled_before_anything_came_takes_nothing(driver, make, batch):
    near, far = make(), make()
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    driver.settle()
    driver.stop_and_settle(record)
    far.sendto(b"later", near.getsockname())
    driver.settle()
    assert record.datagrams == []
    assert near.recv(100) == b"later"


def test_receive_cancelled_in_its_own_completion_loses_nothing_but_what_it_says(
    driver, sockets, batch
):
    near, far = sockets.udp(), sockets.udp()
    sent = [b"%d" % number for number in range(100)]
    record = driver.start(ReceiveDatagramsOperation(near, batch), then=driver.stop)
    for data in sent:
        far.sendto(data, near.getsockname())
    driver.run_until(lambda: record.is_over)
    told = [data for data, _ in record.datagrams]
    left = []
    while True:
        try:
            left.append(near.recv(100))
        except BlockingIOError:
            break
    assert told + left == sent


def test_receive_cancelled_and_started_again_goes_on(driver, make, batch):
    near, far = make(), make()
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    for turn in range(5):
        driver.stop_and_settle(record)
        record = driver.start(record.operation)
        far.sendto(b"%d" % turn, near.getsockname())
        driver.run_until(lambda record=record: record.datagrams)
        assert record.datagrams == [(b"%d" % turn, far.getsockname())]
    driver.stop_and_settle(record)


def test_receive_that_nobody_ended_ends_with_its_loop(driver, make, batch):
    near = make()
    driver.start(ReceiveDatagramsOperation(near, batch))
    driver.settle()
    make().sendto(b"unread", near.getsockname())
    driver.loop.close()


def test_single_receive_takes_one_datagram_and_its_address(driver, make):
    near, far = make(), make()
    target = bytearray(10)
    record = driver.start(ReceiveFromOperation(near.fileno(), target))
    driver.settle()
    assert not record.ended
    for data in (b"first", b"second"):
        far.sendto(data, near.getsockname())
    driver.run_until_ended(record)
    assert record.result == 5
    assert target == b"first\0\0\0\0\0"
    assert record.operation.sender == far.getsockname()
    again = driver.start(ReceiveBytesFromOperation(near.fileno(), BufferPool(1, 100), 3))
    driver.run_until_ended(again)
    assert again.operation.data == b"sec"


def test_single_receive_cancelled_loses_no_datagram(driver, make):
    near, far = make(), make()
    record = driver.start(ReceiveFromOperation(near.fileno(), bytearray(10)))
    driver.settle()
    far.sendto(b"data", near.getsockname())
    if driver.stop(record) != CANCEL_CANCELLED:
        driver.run_until_ended(record)
        assert record.result == -errno.ECANCELED
    assert near.recv(10) == b"data"


def test_send_goes_where_it_is_told(driver, make):
    near, far = make(), make()
    record = driver.start(SendToOperation(near, b"there", far.getsockname()))
    driver.run_until_ended(record)
    assert record.result == 5
    assert far.recvfrom(100) == (b"there", near.getsockname())
    near.connect(far.getsockname())
    record = driver.start(SendToOperation(near, b""))
    driver.run_until_ended(record)
    assert record.result == 0
    assert far.recvfrom(100) == (b"", near.getsockname())


def test_send_waits_until_the_receiver_has_room_and_is_not_cut(driver, sockets):
    near, far = sockets.unix_datagrams(), sockets.unix_datagrams()
    near.connect(far.getsockname())
    count = fill(near)
    data = os.urandom(1000)
    record = driver.start(SendToOperation(near, data))
    driver.settle()
    assert not record.ended
    for _ in range(count):
        assert far.recv(100) == b"fill"
    driver.run_until_ended(record)
    assert record.result == len(data)
    assert far.recv(2000) == data


def test_send_to_a_receiver_filled_by_others_goes_on_when_there_is_room(driver, sockets):
    near, far, other = (sockets.unix_datagrams() for _ in range(3))
    other.connect(far.getsockname())
    count = fill(other)
    record = driver.start(SendToOperation(near, b"data", far.getsockname()))
    driver.settle()
    assert not record.ended
    for _ in range(count):
        assert far.recv(100) == b"fill"
    driver.run_until_ended(record)
    assert far.recv(100) == b"data"


def fill(sock):
    """Send until the peer's queue is full; how many."""
    count = 0
    while True:
        try:
            sock.send(b"fill")
        except BlockingIOError:
            return count
        count += 1


def test_send_fails_with_the_kernels_error(driver, sockets):
    near, far = sockets.udp(), sockets.udp()
    record = driver.start(SendToOperation(near, bytes(65_508), far.getsockname()))
    driver.run_until_ended(record)
    assert record.result == -errno.EMSGSIZE


def test_operations_on_datagrams_are_counted_by_kind(driver, make, batch):
    near, far = make(), make()
    record = driver.start(ReceiveDatagramsOperation(near, batch))
    assert driver.model.start_operation(SendToOperation(far, b"x", near.getsockname())) != (
        SUBMIT_COMPLETED
    )
    driver.run_until(lambda: record.datagrams)
    driver.stop_and_settle(record)
    counted = driver.loop.statistics()["operations"]
    assert {"receive_from", "send_to"} <= set(KIND_NAMES)
    assert (counted["receive_from"], counted["send_to"]) == (1, 1)
