"""The contract with bare operations: sending, connecting, accepting, polling, sendfile."""

import errno
import os
import select
import socket
import struct

import pytest

from headrace.core.operation import (
    WAITS_READABLE,
    WAITS_WRITABLE,
    AcceptOperation,
    ConnectOperation,
    PollOperation,
    ReceiveOperation,
    SendfileOperation,
    SendOperation,
)

LARGE = os.urandom(3_000_000)


@pytest.fixture(params=("unix_pair", "tcp_pair"))
def pair(request, sockets):
    return getattr(sockets, request.param)()


@pytest.fixture(params=(False, True), ids=("whole", "composed"))
def send(request):
    """Makes send operations of both kinds: the transport's, and that of sock_sendall()."""
    return lambda fd, data: SendOperation(fd, data, composed=request.param)


def fill(sock):
    """Send until the kernel takes no more; the count of bytes."""
    count = 0
    while True:
        try:
            count += sock.send(b"x" * 65536)
        except BlockingIOError:
            return count


def drain(sock, count):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while count:
        # While a thread is in send(2), TCP hands on what is queued only when it comes out.
        assert poll.poll(5000)
        count -= len(sock.recv(min(count, 1 << 20)))


def test_send_takes_a_small_piece_whole(driver, pair, send):
    left, right = pair
    sent = 0
    while sent < 5:
        record = driver.start(send(left.fileno(), b"hello"[sent:]))
        driver.run_until_ended(record)
        assert record.result > 0
        sent += record.result
    assert right.recv(100) == b"hello"


def test_send_waits_until_there_is_room(driver, pair, send):
    left, right = pair
    count = fill(left)
    record = driver.start(send(left.fileno(), b"after"))
    driver.settle()
    if left.family == socket.AF_UNIX:  # TCP's buffers may still have grown
        assert not record.ended
    drain(right, count)
    driver.run_until_ended(record)
    assert right.recv(100) == b"after"[: record.result]


def test_send_of_a_large_piece_arrives_whole(driver, pair, send):
    left, right = pair
    receiver = driver.start(ReceiveOperation(right.fileno()))
    sent = 0
    while sent < len(LARGE):
        record = driver.start(send(left.fileno(), LARGE[sent : sent + 500_000]))
        driver.run_until_ended(record)
        sent += record.result
    left.shutdown(socket.SHUT_WR)
    driver.run_until_ended(receiver)
    assert receiver.data == LARGE


def test_send_to_a_closed_peer_fails(driver, pair, send):
    left, right = pair
    right.close()
    records = [driver.start(send(left.fileno(), b"x"))]
    driver.run_until_ended(records[0])
    # TCP finds out with the answer to the first segment; a Unix socket at once.
    while records[-1].result > 0:
        records.append(driver.start(send(left.fileno(), b"x")))
        driver.run_until_ended(records[-1])
    assert records[-1].result in (-errno.EPIPE, -errno.ECONNRESET)


def test_send_that_waits_fails_when_the_peer_resets(driver, sockets, send):
    left, right = sockets.tcp_pair()
    fill(left)
    record = driver.start(send(left.fileno(), b"x" * 1_000_000))
    driver.settle()
    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    right.close()
    driver.run_until_ended(record)
    while record.result > 0:
        record = driver.start(send(left.fileno(), b"x"))
        driver.run_until_ended(record)
    assert record.result in (-errno.EPIPE, -errno.ECONNRESET)


def test_send_that_waits_can_be_cancelled(driver, pair, send):
    left, right = pair
    count = fill(left)
    record = driver.start(send(left.fileno(), b"never"))
    driver.settle()
    driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])
    drain(right, count)
    left.send(b"next")
    assert right.recv(100) == b"next"


def test_send_cancelled_twice_ends_once(driver, pair, send):
    left, _ = pair
    fill(left)
    record = driver.start(send(left.fileno(), b"never"))
    assert driver.stop(record) == driver.stop(record)
    driver.run_until(lambda: record.is_over)
    driver.settle()


def test_send_and_receive_wait_on_one_descriptor_side_by_side(driver, pair, send):
    left, right = pair
    count = fill(left)
    sender = driver.start(send(left.fileno(), b"out"))
    receiver = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    right.send(b"in")
    driver.run_until(lambda: receiver.data == b"in")
    drain(right, count)
    driver.run_until_ended(sender)
    driver.stop_and_settle(receiver)


def test_two_sends_on_one_descriptor_both_end(driver, pair, send):
    left, right = pair
    count = fill(left)
    records = [driver.start(send(left.fileno(), b"x" * 10)) for _ in range(2)]
    driver.settle()
    drain(right, count)
    driver.run_until_ended(*records)
    assert len(right.recv(100)) == sum(record.result for record in records)


# Connecting.


def connect(sock, address):
    return ConnectOperation(sock.fileno(), sock.family, address)


def test_connect_to_a_listener(driver, sockets):
    listener = sockets.listener()
    sock = sockets.tcp()
    record = driver.start(connect(sock, listener.getsockname()))
    driver.run_until_ended(record)
    assert record.result == 0
    assert sock.getpeername() == listener.getsockname()


def test_connect_is_refused_where_nobody_listens(driver, sockets):
    listener = sockets.listener()
    address = listener.getsockname()
    listener.close()
    record = driver.start(connect(sockets.tcp(), address))
    driver.run_until_ended(record)
    assert record.result == -errno.ECONNREFUSED


def test_connect_over_a_unix_path(driver, sockets, tmp_path):
    listener = sockets.keep(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    sock = sockets.keep(socket.socket(socket.AF_UNIX))
    record = driver.start(connect(sock, str(tmp_path / "socket")))
    driver.run_until_ended(record)
    assert record.result == 0


def test_connect_over_a_unix_path_that_is_not_there(driver, sockets, tmp_path):
    sock = sockets.keep(socket.socket(socket.AF_UNIX))
    record = driver.start(connect(sock, str(tmp_path / "nobody")))
    driver.run_until_ended(record)
    assert record.result == -errno.ENOENT


def test_connect_that_waits_can_be_cancelled(driver, sockets):
    listener = sockets.keep(socket.create_server(("127.0.0.1", 0), backlog=0))
    blockers = [sockets.tcp() for _ in range(2)]
    for blocker in blockers:
        blocker.connect_ex(listener.getsockname())
    record = driver.start(connect(sockets.tcp(), listener.getsockname()))
    driver.settle()
    driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])


# Accepting.


def test_accept_multishot_takes_every_connection(driver, sockets):
    listener = sockets.listener()
    listener.listen(128)
    record = driver.start(AcceptOperation(listener.fileno()))
    driver.settle()
    clients = [sockets.tcp() for _ in range(100)]
    for client in clients:
        client.connect_ex(listener.getsockname())
    driver.run_until(lambda: len(record.results) == 100)
    for fd in record.results:
        accepted = sockets.keep(socket.socket(fileno=fd))
        assert not os.get_inheritable(fd)
        assert not os.get_blocking(accepted.fileno())
    driver.stop_and_settle(record)


def test_accept_once_takes_one(driver, sockets):
    listener = sockets.listener()
    record = driver.start(AcceptOperation(listener.fileno(), False))
    clients = [sockets.tcp() for _ in range(2)]
    for client in clients:
        client.connect_ex(listener.getsockname())
    driver.run_until_ended(record)
    sockets.keep(socket.socket(fileno=record.result))
    accepted, _ = listener.accept()
    accepted.close()


def test_accept_once_cancelled_leaves_the_connection(driver, sockets):
    listener = sockets.listener()
    record = driver.start(AcceptOperation(listener.fileno(), False))
    driver.settle()
    sockets.tcp().connect_ex(listener.getsockname())
    driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])
    accepted, _ = listener.accept()
    accepted.close()


def test_accept_cancelled_in_its_own_callback_ends(driver, sockets):
    listener = sockets.listener()
    record = driver.start(AcceptOperation(listener.fileno()), then=driver.stop)
    clients = [sockets.tcp() for _ in range(5)]
    for client in clients:
        client.connect_ex(listener.getsockname())
    driver.run_until(lambda: record.is_over)
    for fd in record.results:
        if fd >= 0:
            os.close(fd)


def test_accept_fails_on_a_socket_that_does_not_listen(driver, sockets):
    record = driver.start(AcceptOperation(sockets.tcp().fileno()))
    driver.run_until_ended(record)
    assert record.result == -errno.EINVAL


def test_close_gives_accepted_descriptors_back(driver, sockets):
    """The fixture that counts descriptors looks for what nobody took."""
    listener = sockets.listener()
    driver.start(AcceptOperation(listener.fileno()))
    driver.settle()
    for _ in range(5):
        sockets.tcp().connect_ex(listener.getsockname())
    driver.model.wait(0)
    driver.loop.close()


# Polling.


def test_poll_once_answers_what_is_ready(driver, pair):
    left, right = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE))
    driver.settle()
    assert not record.ended
    right.send(b"x")
    driver.run_until_ended(record)
    assert record.result == WAITS_READABLE
    driver.settle()
    assert len(record.results) == 1


def test_poll_for_both_sides_answers_the_one_that_is_ready(driver, pair):
    left, _ = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE | WAITS_WRITABLE))
    driver.run_until_ended(record)
    assert record.result == WAITS_WRITABLE


def test_poll_for_both_sides_behind_a_receive(driver, pair):
    left, right = pair
    receiver = driver.start(ReceiveOperation(left.fileno()))
    driver.settle()
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE | WAITS_WRITABLE))
    driver.run_until_ended(record)
    assert record.result == WAITS_WRITABLE
    right.send(b"x")
    driver.run_until(lambda: receiver.data == b"x")
    driver.stop_and_settle(receiver)


def test_poll_multishot_repeats_itself_while_data_is_left(driver, pair):
    left, right = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE, True))
    right.send(b"four")
    driver.run_until(lambda: len(record.results) == 5)
    assert set(record.results) == {WAITS_READABLE}
    driver.stop_and_settle(record)


def test_poll_multishot_is_quiet_once_the_data_is_taken(driver, pair):
    left, right = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE, True))
    right.send(b"four")
    driver.run_until(lambda: bool(record.results))
    left.recv(100)
    driver.settle()
    count = len(record.results)
    driver.settle()
    assert len(record.results) == count
    right.send(b"more")
    driver.run_until(lambda: len(record.results) > count)
    driver.stop_and_settle(record)


def test_poll_multishot_taken_a_byte_at_a_time_sees_each(driver, pair):
    left, right = pair
    taken = []
    record = driver.start(
        PollOperation(left.fileno(), WAITS_READABLE, True),
        then=lambda record: record.results[-1] > 0 and taken.append(left.recv(1)),
    )
    right.send(b"bytes")
    driver.run_until(lambda: b"".join(taken) == b"bytes")
    driver.stop_and_settle(record)


def test_poll_reports_a_peer_that_is_gone(driver, pair):
    left, right = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE))
    driver.settle()
    right.close()
    driver.run_until_ended(record)
    assert record.result == WAITS_READABLE


def test_poll_cancelled_in_its_own_callback_is_quiet(driver, pair):
    left, right = pair
    record = driver.start(PollOperation(left.fileno(), WAITS_READABLE, True), then=driver.stop)
    right.send(b"x")
    driver.run_until(lambda: record.is_over)
    driver.settle()


def test_two_polls_on_one_descriptor_both_see_it(driver, pair):
    left, right = pair
    records = [driver.start(PollOperation(left.fileno(), WAITS_READABLE)) for _ in range(2)]
    driver.settle()
    right.send(b"x")
    driver.run_until_ended(*records)


def test_poll_refuses_events_that_do_not_exist(pair):
    with pytest.raises(ValueError, match="events"):
        PollOperation(pair[0].fileno(), 4)


# Files.


def test_sendfile_sends_a_file(driver, pair, tmp_path):
    left, right = pair
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    receiver = driver.start(ReceiveOperation(right.fileno()))
    sent = 0
    with path.open("rb") as file:
        while True:
            operation = SendfileOperation(left.fileno(), file.fileno(), sent, 1_000_000)
            record = driver.start(operation)
            driver.run_until_ended(record)
            sent += record.result
            if record.result == 0:
                break
    left.shutdown(socket.SHUT_WR)
    driver.run_until_ended(receiver)
    assert receiver.data == LARGE


def test_sendfile_that_waits_can_be_cancelled(driver, pair, tmp_path):
    left, right = pair
    path = tmp_path / "file"
    path.write_bytes(b"never")
    count = fill(left)
    with path.open("rb") as file:
        record = driver.start(SendfileOperation(left.fileno(), file.fileno(), 0, 5))
        driver.settle()
        driver.stop_and_settle(record)
    assert record.results in ([], [-errno.ECANCELED])
    drain(right, count)


def test_descriptor_beyond_the_limit_is_refused(driver, subject):
    limit = subject.capabilities.get("descriptor_max")
    if limit is None:
        pytest.skip("this model declares no largest descriptor")
    with pytest.raises(OSError, match=f"its limit is {limit}") as raised:
        driver.start(ReceiveOperation(limit + 1))
    assert raised.value.errno == errno.EMFILE
