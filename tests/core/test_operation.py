"""Operations, pools and counts, as far as Python reaches them."""

from __future__ import annotations

import socket

import pytest

from headrace.core import operation as operations
from headrace.core.buffer_pool import BufferPool
from headrace.core.statistics import KIND_NAMES, SYSTEM_CALL_NAMES, Statistics


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 0), (-1, 10)])
def test_pool_without_room_is_refused(count, size):
    with pytest.raises((ValueError, OverflowError)):
        BufferPool(count, size)


def test_pool_shows_its_inner_life():
    pool = BufferPool(4, 4096)
    assert repr(pool) == "<BufferPool idle=4/4 size=4096>"
    assert (pool.count, pool.size, pool.idle_count) == (4, 4096, 4)


def test_statistics_count_known_and_unknown_calls():
    statistics = Statistics()
    statistics.count_system_call("recv")
    statistics.count_system_call("recv", 2)
    statistics.count_system_call("kqueue")
    assert statistics.as_dict()["system_calls"] == {"recv": 3, "kqueue": 1}
    assert statistics.as_dict()["operations"] == {}


def test_names_are_sorted_and_unique():
    for names in (SYSTEM_CALL_NAMES, KIND_NAMES):
        assert list(names) == sorted(set(names))


@pytest.mark.parametrize("events", [0, 4, -1])
def test_poll_operation_refuses_unknown_events(events):
    with pytest.raises(ValueError, match="events must be"):
        operations.PollOperation(0, events)


def test_receive_into_refuses_a_buffer_that_cannot_be_written():
    with pytest.raises((TypeError, ValueError, BufferError)):
        operations.ReceiveIntoOperation(0, b"read-only")


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ("not an address", 80)), (socket.AF_INET, ()), (socket.AF_PACKET, ("lo", 0))],
)
def test_connect_operation_refuses_addresses_it_does_not_understand(family, address):
    with pytest.raises((ValueError, TypeError, OSError, IndexError)):
        operations.ConnectOperation(0, family, address)


def test_operation_says_what_it_is_and_where_it_stands():
    operation = operations.PollOperation(7, operations.WAITS_READABLE, True)
    assert repr(operation) == "<PollOperation fd=7 multishot idle>"
    assert operation.kind_name == "poll"
    assert operation.wants_read
    assert not operation.wants_write


def test_operation_in_flight_cannot_be_started_again(loop):
    near, far = socket.socketpair()
    with near, far:
        operation = operations.ReceiveIntoOperation(near.fileno(), bytearray(10))
        loop._model.start_operation(operation)
        assert "in flight" in repr(operation)
        with pytest.raises(RuntimeError, match="in flight already"):
            loop._model.start_operation(operation)
        loop._model.stop_operation(operation)
        loop.call_soon(loop.stop)
        loop.run_forever()


def test_buffers_of_operations_stay_alive_while_they_are_in_flight(loop):
    """Whoever started it may forget both; the kernel must not write into freed memory."""
    near, far = socket.socketpair()
    with near, far:
        done = []
        loop._model.start_operation(
            operations.ReceiveIntoOperation(
                near.fileno(),
                bytearray(100),
                lambda operation, result, more: (done.append(result), loop.stop()),
            )
        )
        far.send(b"hello")
        loop.run_forever()
        assert done == [5]
