"""The simulated model itself: its clock, its memory of broken promises, its despair."""

import asyncio
import socket
import threading
import time

import pytest

import headrace
from headrace.core.operation import PollOperation, ReceiveOperation
from headrace.models.simulated import DeadlockError, Faults, InvariantError, SimulatedModel


@pytest.fixture
def make_loop():
    loops = []

    def make(faults=None):
        loops.append(headrace.EventLoop(SimulatedModel(faults)))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    with left, right:
        yield left, right


def test_clock_jumps_to_the_next_deadline(make_loop):
    loop = make_loop()
    start_s, really_s = loop.time(), time.monotonic()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() - start_s >= 86_400
    assert time.monotonic() - really_s < 3600


def test_deadlock_names_the_operations_in_flight_and_the_seed(make_loop, pair):
    loop = make_loop(Faults(seed=17))
    with pytest.raises(DeadlockError, match=r"seed 17.*<SocketPoll fd=") as raised:
        loop.run_until_complete(loop.sock_recv(pair[0], 1))
    assert f"fd={pair[0].fileno()}" in str(raised.value)
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)


def test_another_thread_is_waited_for(make_loop, pair):
    loop = make_loop()
    left, right = pair
    started = threading.Event()
    thread = threading.Thread(target=lambda: (started.wait(), right.send(b"x")))
    thread.start()

    async def main():
        asyncio.get_running_loop().call_soon(started.set)
        return await loop.sock_recv(left, 1)

    assert loop.run_until_complete(main()) == b"x"
    thread.join()


def history(seed):
    """What a program sees of its turns under *seed*."""
    seen = []
    loop = headrace.EventLoop(SimulatedModel(Faults.from_seed(seed)))

    async def echo(reader, writer):
        while data := await reader.read(1000):
            seen.append(len(data))
            writer.write(data)
        writer.close()

    async def main():
        left, right = socket.socketpair()
        server = loop.create_task(echo(*await asyncio.open_unix_connection(sock=left)))
        reader, writer = await asyncio.open_unix_connection(sock=right)
        writer.write(b"x" * 20_000)
        writer.write_eof()
        assert await reader.read() == b"x" * 20_000
        writer.close()
        await server
        for _ in range(20):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    seen.append(round((loop.time() - 1000) * 1e6))
    loop.close()
    return seen


def test_one_seed_is_one_history():
    assert history(5) == history(5)
    assert len({tuple(history(seed)) for seed in range(20)}) > 10


def test_double_submit_is_found(make_loop, pair):
    model = make_loop(Faults(seed=3))._model
    operation = PollOperation(pair[0].fileno(), 1)
    model.start_operation(operation)
    with pytest.raises(InvariantError, match=r"PollOperation.*submitted twice \(seed 3\)"):
        model.submit(operation)


def test_forgetting_a_descriptor_that_is_waited_on_is_found(make_loop, pair):
    model = make_loop(Faults(seed=4))._model
    model.start_operation(ReceiveOperation(pair[0].fileno()))
    with pytest.raises(InvariantError, match=r"forgotten descriptor \(seed 4\)"):
        model.forget(pair[0].fileno())


def test_cancelling_what_is_not_in_flight_is_found(make_loop, pair):
    model = make_loop(Faults(seed=6))._model
    with pytest.raises(InvariantError, match=r"not in flight \(seed 6\)"):
        model.cancel(PollOperation(pair[0].fileno(), 1))


def test_buffer_that_is_kept_is_found(make_loop, pair):
    left, right = pair
    loop = make_loop(Faults(seed=8))
    operation = ReceiveOperation(left.fileno())
    model = loop._model
    model.start_operation(operation)
    right.send(b"x")
    assert model.perform(operation) != 0  # takes a buffer, and tells nobody
    with pytest.raises(InvariantError, match=r"not given back \(seed 8\)"):
        model.wait(0)


def test_faults_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="late must be a probability"):
        Faults(late=2.0)
    with pytest.raises(ValueError, match="some attempts must succeed"):
        Faults(not_ready=1.0)


def test_simulated_is_not_offered_as_a_real_model():
    assert "simulated" not in [info.name for info in headrace.models()]
