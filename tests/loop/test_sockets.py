"""The sock_* methods at their edges: sockets that end, numbers that come back, no bytes at all."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import os
import re
import socket

import pytest

LARGE = b"SECRET--" * 1_000_000


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def socket_pair_at(number: int) -> tuple[socket.socket, socket.socket]:
    """A pair whose first socket has the descriptor *number*, which is free."""
    near, far = socket_pair()
    if far.fileno() == number:
        return far, near
    if near.fileno() != number:
        os.dup2(near.fileno(), number, inheritable=False)
        near.close()
        near = socket.socket(fileno=number)
        near.setblocking(False)
    return near, far


def receive_all_nowait(sock: socket.socket) -> bytes:
    received = []
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while data := sock.recv(1 << 20):
            received.append(data)
    return b"".join(received)


async def check_ends_without_success(task: asyncio.Task) -> None:
    """It fails, or it waits until its caller no longer wants it."""
    await turns()
    task.cancel()
    with pytest.raises((OSError, asyncio.CancelledError)):
        await task


def test_sock_sendall_on_a_socket_closed_meanwhile_sends_nothing_to_its_successor(
    headrace_loop, headrace_run
):
    async def main():
        closed, peer = socket_pair()
        sending = headrace_loop.create_task(headrace_loop.sock_sendall(closed, LARGE))
        await turns()
        number = closed.fileno()
        closed.close()
        near, far = socket_pair_at(number)
        receiving = headrace_loop.create_task(headrace_loop.sock_recv(near, 100))
        for _ in range(20):
            receive_all_nowait(peer)
            await turns()
        assert receive_all_nowait(far) == b""
        far.send(b"hello")
        assert await receiving == b"hello"
        await headrace_loop.sock_sendall(near, b"hello too")
        assert receive_all_nowait(far) == b"hello too"
        await check_ends_without_success(sending)
        for sock in (near, far, peer):
            sock.close()

    headrace_run(main())


@pytest.mark.parametrize("method", ["sock_recv", "sock_recv_into"])
def test_sock_recv_on_a_socket_closed_meanwhile_takes_nothing_from_its_successor(
    headrace_loop, headrace_run, method
):
    async def main():
        closed, peer = socket_pair()
        argument = 100 if method == "sock_recv" else bytearray(100)
        waiting = headrace_loop.create_task(getattr(headrace_loop, method)(closed, argument))
        await turns()
        number = closed.fileno()
        closed.close()
        near, far = socket_pair_at(number)
        peer.close()
        far.send(b"hello")
        await turns()
        assert await headrace_loop.sock_recv(near, 100) == b"hello"
        receiving = headrace_loop.create_task(headrace_loop.sock_recv(near, 100))
        await turns()
        far.send(b"again")
        assert await receiving == b"again"
        await check_ends_without_success(waiting)
        near.close()
        far.close()

    headrace_run(main())


@pytest.mark.parametrize("method", ["sock_recvfrom", "sock_recvfrom_into"])
def test_sock_recvfrom_on_a_socket_closed_when_ready_takes_nothing_from_its_successor(
    run, loop, method
):
    async def main():
        closed, other, sender = (datagram_socket() for _ in range(3))
        number = closed.fileno()
        argument = 100 if method == "sock_recvfrom" else bytearray(100)
        receiving = loop.create_task(getattr(loop, method)(closed, argument))
        await turns()
        sender.sendto(b"for the closed", closed.getsockname())
        sender.sendto(b"for the other", other.getsockname())
        # It has been ready, and who waits has not had its turn.
        while not receiving._fut_waiter.done():
            await asyncio.sleep(0)
        closed.close()
        successor = socket.socket(fileno=os.dup2(other.fileno(), number, inheritable=False))
        with contextlib.suppress(OSError):
            await receiving  # on asyncio it has taken its datagram already
        assert successor.recv(100) == b"for the other"
        for sock in (successor, other, sender):
            sock.close()

    run(main())


def receive(loop: asyncio.AbstractEventLoop, method: str, sock: socket.socket) -> asyncio.Task:
    return loop.create_task(
        getattr(loop, method)(sock, 100 if method == "sock_recv" else bytearray(100))
    )


@pytest.mark.parametrize("method", ["sock_recv", "sock_recv_into"])
def test_sock_recv_cancelled_before_its_turn_has_taken_nothing(headrace_loop, headrace_run, method):
    """asyncio has, and it is lost."""

    async def main():
        near, far = socket_pair()
        receiving = receive(headrace_loop, method, near)
        await turns()
        far.send(b"data")
        while not receiving._fut_waiter.done():
            await asyncio.sleep(0)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert near.recv(100) == b"data"
        near.close()
        far.close()

    headrace_run(main())


def test_sock_accept_cancelled_before_its_turn_leaves_the_connection_to_the_next(
    headrace_loop, headrace_run
):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            accepting = headrace_loop.create_task(headrace_loop.sock_accept(listening))
            await turns()
            with socket.create_connection(listening.getsockname()) as peer:
                while not accepting._fut_waiter.done():
                    await asyncio.sleep(0)
                accepting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await accepting
                sock, address = await headrace_loop.sock_accept(listening)
                assert address == peer.getsockname()
                sock.close()

    headrace_run(main())


def test_sock_accept_of_a_peer_that_has_reset_answers_its_address(run, loop, reset):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            peer = socket.create_connection(listening.getsockname())
            expected = peer.getsockname()
            reset(peer)
            connection, address = await loop.sock_accept(listening)
            assert address == expected
            connection.close()

    run(main())


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waiting"])
def test_sock_accept_answers_the_path_of_a_unix_peer(run, loop, tmp_path, waits):
    async def main():
        path = str(tmp_path / "listening")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            listening.setblocking(False)
            for name in ("", str(tmp_path / "peer")):
                with socket.socket(socket.AF_UNIX) as peer:
                    if name:
                        peer.bind(name)
                    accepting = loop.create_task(loop.sock_accept(listening))
                    if waits:
                        await turns()
                    peer.connect(path)
                    connection, address = await accepting
                    assert address == name
                    connection.close()

    run(main())


def test_sock_recv_of_no_bytes_answers_at_once(run, loop):
    async def main():
        near, far = tcp_pair()
        with near, far:
            assert await loop.sock_recv(near, 0) == b""
            assert await loop.sock_recv_into(near, bytearray()) == 0
            far.send(b"hello")
            assert await loop.sock_recv(near, 100) == b"hello"

    run(main())


def test_sock_recv_of_less_than_no_bytes_is_a_value_error(run, loop):
    async def main():
        near, far = tcp_pair()
        with near, far:
            far.send(b"hello")
            with pytest.raises(ValueError, match=r"^negative buffersize in recv$"):
                await loop.sock_recv(near, -1)
            for size in ("1", 1.0, None):
                with pytest.raises(TypeError, match=r"cannot be interpreted as an integer$"):
                    await loop.sock_recv(near, size)
            assert await loop.sock_recv(near, 100) == b"hello"

    run(main())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_sock_recv_of_a_long_message_loses_nothing_of_it(run, loop, kind):
    message = os.urandom(300_000)

    async def main():
        near, far = socket.socketpair(socket.AF_UNIX, kind)
        with near, far:
            near.setblocking(False)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
            receiving = loop.create_task(loop.sock_recv(near, 1 << 20))
            await asyncio.sleep(0)
            far.send(message)
            far.send(b"next")
            assert await receiving == message
            assert await loop.sock_recv(near, 1 << 20) == b"next"

    run(main())


def test_sock_recv_into_what_cannot_be_written_is_a_type_error(run, loop):
    async def main():
        near, far = tcp_pair()
        with near, far:
            for buffer in (bytes(4), memoryview(bytes(4)), "text"):
                with pytest.raises(TypeError):
                    await loop.sock_recv_into(near, buffer)
            far.send(b"hello")
            assert await loop.sock_recv(near, 100) == b"hello"

    run(main())


def unix_path(folder, kind):
    """A path to which nobody can connect, and why."""
    path = str(folder / "socket")
    if kind == "refused":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
    elif kind == "no socket":
        (folder / "socket").touch()
    return path


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("missing", (FileNotFoundError, "[Errno 2] No such file or directory")),
        ("refused", (ConnectionRefusedError, "[Errno 111] Connection refused")),
        ("no socket", (ConnectionRefusedError, "[Errno 111] Connection refused")),
    ],
)
def test_unix_connect_that_fails_says_what_asyncio_says(run, loop, tmp_path, kind, expected):
    path = unix_path(tmp_path, kind)

    async def main():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            for connecting in (loop.sock_connect(sock, path), asyncio.open_unix_connection(path)):
                with pytest.raises(OSError, match="Errno") as raised:
                    await connecting
                assert (type(raised.value), str(raised.value)) == expected

    run(main())


@pytest.mark.parametrize(
    ("host", "error", "message"),
    [
        ("127.0.0.1", ConnectionRefusedError, r"\[Errno 111\] Connect call failed \({address}\)"),
        # Refused by connect(2) itself, on a socket that may not broadcast.
        ("255.255.255.255", OSError, r"\[Errno (101|13)\] (?!Connect call).*"),
    ],
)
def test_tcp_connect_that_fails_says_what_asyncio_says(run, loop, host, error, message):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def main():
            with socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(error) as raised:
                    await loop.sock_connect(sock, (host, port))
            expected = message.format(address=f"'{host}', {port}")
            assert re.fullmatch(expected, str(raised.value))

        run(main())


@pytest.mark.parametrize("method", ["sock_recv", "sock_recv_into", "sock_sendall"])
def test_sock_call_is_a_coroutine_to_all_who_ask(headrace_loop, method):
    near, far = socket_pair()
    with near, far:
        far.send(b"come")
        argument = {"sock_recv": 4, "sock_recv_into": bytearray(4), "sock_sendall": b"gone"}[method]
        call = getattr(headrace_loop, method)(near, argument)
        assert asyncio.iscoroutine(call)
        assert isinstance(call, collections.abc.Coroutine)
        assert repr(call) == f"<EventLoop.{method} not begun>"
        task = headrace_loop.create_task(call)
        assert method in repr(task)
        expected = {"sock_recv": b"come", "sock_recv_into": 4, "sock_sendall": None}[method]
        assert headrace_loop.run_until_complete(task) == expected
        with pytest.raises(RuntimeError, match="already awaited"):
            call.send(None)


@pytest.fixture
def datagram_pair():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for sock in (near, far):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield near, far


@pytest.mark.parametrize("method", ["sock_recvfrom", "sock_recvfrom_into", "sock_sendto"])
def test_sock_call_of_datagrams_is_a_coroutine_to_all_who_ask(headrace_loop, datagram_pair, method):
    near, far = datagram_pair
    far.sendto(b"come", near.getsockname())
    arguments = {
        "sock_recvfrom": (4,),
        "sock_recvfrom_into": (bytearray(4),),
        "sock_sendto": (bytearray(b"gone!"), far.getsockname()),
    }
    call = getattr(headrace_loop, method)(near, *arguments[method])
    assert isinstance(call, collections.abc.Coroutine)
    assert repr(call) == f"<EventLoop.{method} not begun>"
    expected = {
        "sock_recvfrom": (b"come", far.getsockname()),
        "sock_recvfrom_into": (4, far.getsockname()),
        "sock_sendto": 5,
    }
    assert headrace_loop.run_until_complete(headrace_loop.create_task(call)) == expected[method]
    with pytest.raises(RuntimeError, match="already awaited"):
        call.send(None)


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("sock_recvfrom", ("many",), TypeError),
        ("sock_recvfrom", (-1,), ValueError),
        ("sock_recvfrom_into", (b"fixed",), (TypeError, BufferError)),
        ("sock_recvfrom_into", (5,), TypeError),
        ("sock_recvfrom_into", (bytearray(4), 5), ValueError),
        ("sock_recvfrom_into", (bytearray(4), -1), ValueError),
        ("sock_sendto", (5, ("127.0.0.1", 9)), TypeError),
        ("sock_sendto", (b"x", 9), TypeError),
    ],
)
def test_sock_call_of_datagrams_refuses_bad_arguments_when_it_is_awaited(
    run, loop, datagram_pair, method, arguments, error
):
    near, far = datagram_pair

    async def main():
        far.sendto(b"come", near.getsockname())
        call = getattr(loop, method)(near, *arguments)
        with pytest.raises(error):
            await call

    run(main())


def test_sock_sendto_an_address_of_another_family_is_refused(run, loop, datagram_pair):
    near, far = datagram_pair

    async def main():
        far.sendto(b"come", near.getsockname())
        _, sender = await loop.sock_recvfrom(near, 100)
        assert await loop.sock_sendto(near, b"back", sender) == 4
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(socket.gaierror):
                await loop.sock_sendto(other, b"no", sender)
        assert await loop.sock_recvfrom(far, 100) == (b"back", near.getsockname())

    run(main())


def test_sock_recvfrom_that_is_cancelled_takes_no_datagram(run, loop, datagram_pair):
    near, far = datagram_pair

    async def main():
        for _ in range(4):
            waiting = asyncio.ensure_future(loop.sock_recvfrom(near, 100))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        far.sendto(b"stays", near.getsockname())
        assert await loop.sock_recvfrom(near, 100) == (b"stays", far.getsockname())

    run(main())


def test_sock_call_that_nobody_awaits_warns_and_does_nothing(headrace_loop):
    near, far = socket_pair()
    with near, far:
        far.send(b"stays")
        call = headrace_loop.sock_recv(near, 5)
        with pytest.warns(RuntimeWarning, match=r"sock_recv' was never awaited"):
            del call
        assert near.recv(5) == b"stays"
        call = headrace_loop.sock_recv(near, 5)
        call.close()  # says that it is not going to be awaited


def test_sock_recv_by_hand_is_sent_and_thrown_into(headrace_loop):
    near, far = socket_pair()
    with near, far:
        call = headrace_loop.sock_recv(near, 5)
        with pytest.raises(TypeError, match="just-started"):
            call.send(1)
        future = call.send(None)
        assert asyncio.isfuture(future)
        assert repr(call) == "<EventLoop.sock_recv waiting>"
        with pytest.raises(LookupError, match="meant"):
            call.throw(LookupError("meant"))
        assert headrace_loop._operations_in_flight() == []
        call = headrace_loop.sock_recv(near, 5)
        call.send(None)
        call.close()
        headrace_loop.run_until_complete(asyncio.sleep(0))
        assert headrace_loop._operations_in_flight() == []


def test_sock_recv_that_waits_when_its_loop_and_task_are_given_up_leaves_no_operation(
    headrace_loop,
):
    near, far = socket_pair()
    with near, far:
        call = headrace_loop.sock_recv(near, 5)
        call.send(None)
        del call
        headrace_loop.run_until_complete(asyncio.sleep(0))
        assert headrace_loop._operations_in_flight() == []


def test_sock_recv_finds_data_at_once_also_after_many_waits(run, loop):
    """Whichever is tried first, the attempt or the wait, is a matter of cost alone."""
    near, far = socket_pair()

    async def main():
        with near, far:
            for number in range(100):
                waits = loop.create_task(loop.sock_recv(near, 100))
                if number % 3:
                    await asyncio.sleep(0)
                far.send(b"%d" % number)
                assert await waits == b"%d" % number
                far.send(b"there")
                assert await loop.sock_recv(near, 100) == b"there"

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sock_sendall_of_more_than_the_kernel_takes_sends_all(run, loop, kind):
    near, far = socket_pair()
    data = os.urandom(3 * 2**20)

    async def main():
        with near, far:
            sends = loop.create_task(loop.sock_sendall(near, kind(data)))
            got = bytearray()
            while len(got) < len(data):
                got += await loop.sock_recv(far, 65536)
            await sends
            assert got == data

    run(main())


@pytest.mark.parametrize("method", ["sock_recv", "sock_recv_into", "sock_sendall"])
def test_sock_call_on_a_closed_socket_is_an_error(run, loop, method):
    near, far = socket_pair()
    argument = {"sock_recv": 4, "sock_recv_into": bytearray(4), "sock_sendall": b"gone"}[method]

    async def main():
        with near, far:
            waits = loop.create_task(loop.sock_recv(far, 1))
            await asyncio.sleep(0)
            near.close()
            for _ in range(3):
                with pytest.raises((OSError, ValueError)):
                    await getattr(loop, method)(near, argument)
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)

    run(main())
