"""What only a ring can get wrong: overflow, no buffers, older kernels, threads."""

import asyncio
import errno
import socket
import threading
from random import Random

import pytest

import headrace
from headrace.core.operation import SendOperation
from headrace.models import registry
from headrace.models.ring_support import unavailable_reason
from headrace.models.uring import Uring

pytestmark = pytest.mark.skipif(
    registry.unavailable_reason("uring") is not None, reason="no io_uring here"
)


def socket_pairs(count):
    pairs = [socket.socketpair() for _ in range(count)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    return pairs


def close_all(pairs):
    for pair in pairs:
        for end in pair:
            end.close()


class Collector(asyncio.Protocol):
    def __init__(self, expected):
        self.expected = expected
        self.received = bytearray()
        self.done = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received += data
        if len(self.received) >= self.expected and not self.done.done():
            self.done.set_result(bytes(self.received))

    def connection_lost(self, error):
        self.lost.set_result(error)


def run(main, **features):
    with asyncio.Runner(loop_factory=lambda: headrace.EventLoop(Uring(**features))) as runner:
        return runner.run(main)


def test_uring_delivers_every_poll_when_the_completion_ring_overflows():
    count = 300

    async def main():
        loop = asyncio.get_running_loop()
        pairs = socket_pairs(count)
        pending = set(range(count))
        finished = loop.create_future()

        def read(index):
            pairs[index][0].recv(10)
            loop.remove_reader(pairs[index][0])
            pending.discard(index)
            if not pending:
                finished.set_result(None)

        for index, pair in enumerate(pairs):
            loop.add_reader(pair[0], read, index)
        await asyncio.sleep(0)
        for pair in pairs:
            pair[1].send(b"x")
        await asyncio.wait_for(finished, 30)
        close_all(pairs)
        return loop.statistics()["completion_overflows"]

    # Without DEFER_TASKRUN the kernel posts completions whenever it likes, here over 16 entries.
    assert run(main(), defer_taskrun=False, completion_entries=16) > 0


@pytest.mark.parametrize("defer_taskrun", [True, False])
def test_uring_rearms_multishot_receives_when_the_completion_ring_overflows(defer_taskrun):
    count, rounds = 200, 10

    async def main():
        loop = asyncio.get_running_loop()
        pairs = socket_pairs(count)
        protocols = []
        for near, _ in pairs:
            _, protocol = await loop.create_connection(lambda: Collector(rounds), sock=near)
            protocols.append(protocol)
        for turn in range(rounds):
            for _, far in pairs:
                far.send(b"%d" % turn)
            if turn % 2:
                await asyncio.sleep(0)
        for protocol in protocols:
            assert await asyncio.wait_for(protocol.done, 30) == b"0123456789"
        for _, far in pairs:
            far.close()
        for protocol in protocols:
            await protocol.lost
        return loop.statistics()["completion_overflows"]

    assert run(main(), defer_taskrun=defer_taskrun, completion_entries=16) > 0


@pytest.mark.parametrize("defer_taskrun", [True, False])
def test_uring_loses_nothing_when_buffers_run_out(defer_taskrun):
    async def main():
        loop = asyncio.get_running_loop()
        payload = bytes(range(256)) * 4000
        done = []
        for near, far in socket_pairs(20):
            _, protocol = await loop.create_connection(lambda: Collector(len(payload)), sock=near)
            writer, other = await loop.create_connection(lambda: Collector(1), sock=far)
            done.append((protocol, writer, other))
        for _, writer, _ in done:
            writer.write(payload)
        for protocol, writer, other in done:
            assert await asyncio.wait_for(protocol.done, 30) == payload
            writer.close()
            await other.lost
            await protocol.lost
        return loop.statistics()["buffer_starvation"]

    assert run(main(), defer_taskrun=defer_taskrun, buffer_count=4) > 0


async def send_pieces(pairs, rounds, seed):
    """Messages of random lengths to every connection at once; what each should have received."""
    random = Random(seed)
    sent = [bytearray() for _ in pairs]
    for _ in range(rounds):
        for index, (_, far) in enumerate(pairs):
            piece = random.randbytes(random.choice([1, 7, 100, 1024, 1500, 6000]))
            sent[index] += piece
            far.send(piece)
        await asyncio.sleep(0)
    return sent


@pytest.mark.parametrize("features", [{}, {"defer_taskrun": False}, {"incremental_buffers": False}])
@pytest.mark.parametrize("piece_max", [None, 3])
def test_uring_finds_every_piece_of_its_buffers(features, piece_max):
    async def main():
        loop = asyncio.get_running_loop()
        pool = loop._model.pool
        if piece_max is not None:
            pool.piece_max = piece_max
        pairs = socket_pairs(40)
        protocols = []
        for near, _ in pairs:
            _, protocol = await loop.create_connection(lambda: Collector(1), sock=near)
            protocols.append(protocol)
        sent = await send_pieces(pairs, 60, seed=piece_max)
        for _, far in pairs:
            far.close()
        for index, protocol in enumerate(protocols):
            assert await asyncio.wait_for(protocol.lost, 30) is None
            assert protocol.received == sent[index]
        assert pool.idle_count == pool.count

    run(main(), **features)


def test_uring_publishes_no_more_buffers_than_a_turn_takes():
    async def main():
        loop = asyncio.get_running_loop()
        pool = loop._model.pool
        if not pool.is_incremental:
            pytest.skip("this kernel's buffers are not incremental")
        assert pool.published == pool.window == 8
        near, far = socket.socketpair()
        _, few = await loop.create_connection(lambda: Collector(1), sock=near)
        for number in range(1000):
            far.send(b"x" * 100)
            while len(few.received) <= 100 * number:
                await asyncio.sleep(0)
        assert pool.window == 8
        pairs = socket_pairs(40)
        many = []
        for one, _ in pairs:
            many.append((await loop.create_connection(lambda: Collector(60_000), sock=one))[1])
        for _, other in pairs:
            other.send(b"x" * 60_000)
        for protocol in many:
            await asyncio.wait_for(protocol.done, 30)
        grown = pool.window
        assert grown > 8
        close_all([*pairs, (near, far)])
        return grown

    run(main())


def test_uring_wants_fewer_buffers_when_turns_take_fewer():
    async def main():
        loop = asyncio.get_running_loop()
        pool = loop._model.pool
        if not pool.is_incremental:
            pytest.skip("this kernel's buffers are not incremental")
        pairs = socket_pairs(40)
        protocols = []
        for near, _ in pairs:
            protocols.append(
                (await loop.create_connection(lambda: Collector(30_000), sock=near))[1]
            )
        for _, far in pairs:
            far.send(b"x" * 30_000)
        for protocol in protocols:
            await asyncio.wait_for(protocol.done, 30)
        grown = pool.window
        protocol, far = protocols[0], pairs[0][1]
        # Each uses up a buffer, or nearly, and the first thousand turns remember the many.
        for _ in range(2200):
            before = len(protocol.received)
            far.send(b"x" * 32_000)
            while len(protocol.received) < before + 32_000:
                await asyncio.sleep(0)
        assert pool.window == grown // 2
        close_all(pairs)

    run(main())


@pytest.mark.parametrize(
    "features",
    [{"defer_taskrun": False}, {"multishot_receive": False}, {"incremental_buffers": False}],
    ids=["without DEFER_TASKRUN", "without multishot receive", "without incremental buffers"],
)
def test_uring_serves_without_newer_features(features):
    async def main():
        async def serve(reader, writer):
            while data := await reader.read(4096):
                writer.write(data.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(20):
            writer.write(b"round %d\n" % number)
            assert await reader.readline() == b"ROUND %d\n" % number
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main(), **features)


def test_uring_takes_operations_along_to_another_thread():
    loop = headrace.new_event_loop("uring")
    near, far = socket_pairs(1)[0]

    async def connect():
        _, protocol = await loop.create_connection(lambda: Collector(10), sock=near)
        return protocol

    async def receive():
        far.send(b"world")
        return await asyncio.wait_for(protocol.done, 10)

    protocol = loop.run_until_complete(connect())
    far.send(b"hello")
    found = []
    thread = threading.Thread(target=lambda: found.append(loop.run_until_complete(receive())))
    thread.start()
    thread.join()
    assert found == [b"helloworld"]
    far.close()

    async def lose():
        return await protocol.lost

    assert loop.run_until_complete(lose()) is None
    loop.close()


def test_uring_that_is_closed_takes_the_answer_of_a_send_that_goes_to_a_worker():
    """The peer's FIN puts it on its way there; where it is then, no cancellation finds it."""

    class Ended(Collector):
        def connection_made(self, transport):
            transport.write(bytes(1 << 24))

        def eof_received(self):
            self.done.set_result(b"")
            return True

    async def until_it_is_on_its_way(near, far):
        transport, protocol = await loop.create_connection(lambda: Ended(1), sock=near)
        for _ in range(20):
            await asyncio.sleep(0)
        far.shutdown(socket.SHUT_WR)
        await protocol.done
        return transport

    loop = headrace.new_event_loop("uring")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        far, _ = listening.accept()
    near.setblocking(False)
    transport = loop.run_until_complete(until_it_is_on_its_way(near, far))
    [send] = [entry for entry in loop._operations_in_flight() if isinstance(entry, SendOperation)]
    loop.close()
    assert send.result == -errno.ECANCELED
    with far, pytest.raises(RuntimeError, match="closed"):
        transport.abort()


def test_uring_makes_hundreds_of_loops_in_one_process():
    for _ in range(300):
        loop = headrace.new_event_loop("uring")
        assert loop.run_until_complete(asyncio.sleep(0, 7)) == 7
        loop.close()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EINVAL, "Invalid argument"), OSError(errno.ENOSYS, "the kernel's is too old")],
    ids=["of io_uring_setup", "our own"],
)
def test_uring_too_old_is_not_said_to_be_blocked(error):
    reason = unavailable_reason(error)
    assert "5.19" in reason
    assert "seccomp" not in reason


def test_uring_not_there_may_be_blocked():
    assert "seccomp" in unavailable_reason(OSError(errno.ENOSYS, "Function not implemented"))
