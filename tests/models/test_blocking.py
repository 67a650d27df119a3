"""What only blocking I/O can get wrong: threads that are too many, too few, or never come back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import headrace
from headrace.core.operation import ReceiveOperation
from headrace.models.contract import CANCEL_CANCELLED
from headrace.models.thread_limit import THREADS_MAX, THREADS_MIN, thread_limit, threads_that_fit

TIMEOUT_S = 60
CANCELLED_READS = 10_000
CONNECTIONS = 50
SENT_FIRST = bytes(4 * 1024 * 1024)
# The loop's own socket pair has a thread that waits for it.
OF_THE_WAKER = 1


@pytest.fixture(params=["blocking", "aio"])
def name(request):
    return request.param


@pytest.fixture
def loop(name):
    loop = headrace.new_event_loop(name)
    yield loop
    loop.close()


@pytest.fixture
def make_loop(name, monkeypatch):
    made = []

    def make(threads):
        monkeypatch.setenv("HEADRACE_THREADS", str(threads))
        made.append(headrace.new_event_loop(name))
        return made[-1]

    yield make
    for loop in made:
        loop.close()


@pytest.fixture
def pairs():
    made = [socket.socketpair() for _ in range(CONNECTIONS)]
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def run(loop, main):
    return loop.run_until_complete(asyncio.wait_for(main, TIMEOUT_S))


def threads_of_process():
    return len(os.listdir("/proc/self/task"))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def let_go_of(*lists):
    for things in lists:
        things.clear()
    gc.collect()


class Echo(asyncio.Protocol):
    """Echoes, and ends when the other side does."""

    def connection_made(self, transport):
        self.transport = transport
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, error):
        self.lost.set_result(error)


def test_ten_thousand_cancelled_reads_leave_no_thread_and_no_buffer(loop, pairs):
    model = loop._model
    received = [bytearray() for _ in pairs]
    sent = [0] * len(pairs)

    def receiver(index):
        operation = ReceiveOperation(pairs[index][0].fileno())
        operation.owned = True  # as a connection's is, which `aio` asks glibc for
        operation.on_complete = lambda _operation, _result, data: received[index].extend(data)
        return operation

    async def cancelled_read(index, number):
        operation = receiver(index)
        model.start_operation(operation)
        if number % 3 == 0:
            pairs[index][1].send(b"x")  # some have something to say just then
            sent[index] += 1
        if number % 5 == 0:
            await asyncio.sleep(0)
        if model.stop_operation(operation) != CANCEL_CANCELLED:
            await until(lambda: operation not in loop._operations_in_flight())

    async def main():
        before = threads_of_process()
        for number in range(CANCELLED_READS):
            await cancelled_read(number % CONNECTIONS, number)
        assert model.threads["busy"] == OF_THE_WAKER
        assert model.threads["waiting"] == 0
        assert model.pool.idle_count == model.pool.count
        # Those of `blocking` that have become idle, and of glibc one for each descriptor.
        assert threads_of_process() - before <= CONNECTIONS + OF_THE_WAKER
        for index in range(CONNECTIONS):
            operation = receiver(index)
            model.start_operation(operation)
            await until(lambda index=index: len(received[index]) == sent[index])
            model.stop_operation(operation)
            model.forget(pairs[index][0].fileno())
        assert sum(sent) >= CANCELLED_READS // 3
        assert model.threads["busy"] == OF_THE_WAKER

    run(loop, main())
    assert model.pool.idle_count == model.pool.count
    loop.close()
    assert model.threads["alive"] == 0


def test_cancelled_sock_recv_frees_its_thread_each_time(loop, pairs):
    """2,000 times through the public interface; the other half of what a program cancels."""

    async def main():
        for number in range(2000):
            near, _ = pairs[number % CONNECTIONS]
            near.setblocking(False)
            task = loop.create_task(loop.sock_recv(near, 100))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: loop._model.threads["busy"] == OF_THE_WAKER)
        assert loop._model.threads["alive"] <= CONNECTIONS + OF_THE_WAKER

    run(loop, main())


@pytest.mark.parametrize("threads", [1, 3])
def test_few_threads_serve_many_connections_in_turn(make_loop, pairs, threads):
    loop = make_loop(threads)

    async def talk(near, far, number):
        _, echo = await loop.create_connection(Echo, sock=near)
        reader, writer = await asyncio.open_connection(sock=far)
        for turn in range(3):
            message = b"%d of %d\n" % (turn, number)
            writer.write(message)
            assert await reader.readline() == message
            assert loop._model.threads["alive"] <= threads
        writer.close()
        await writer.wait_closed()
        await echo.lost

    async def main():
        # Idle ones that block for ever, before those that have something to say.
        idle = [(await loop.create_connection(Echo, sock=near))[1] for near, _ in pairs[10:20]]
        talking = [talk(near, far, index) for index, (near, far) in enumerate(pairs[:10])]
        await asyncio.gather(*talking)
        assert loop._model.threads["waiting"] > 0
        assert loop.statistics()["thread_rotations"] > 0
        for echo in idle:
            echo.transport.close()
            await echo.lost

    run(loop, main())


def test_bytes_keep_their_order_while_threads_go_round(make_loop, pairs):
    loop = make_loop(2)
    payload = bytes(range(256)) * 4096

    async def transfer(near, far):
        reader, writer = await asyncio.open_connection(sock=near)
        _, other = await asyncio.open_connection(sock=far)
        other.write(payload)
        assert await reader.readexactly(len(payload)) == payload
        for end in (writer, other):
            end.close()
            await end.wait_closed()

    async def main():
        await asyncio.gather(*[transfer(near, far) for near, far in pairs[:8]])

    run(loop, main())


@pytest.mark.slow
def test_idle_threads_go_home(loop, pairs):
    async def main():
        operations = []
        for near, _ in pairs:
            operation = ReceiveOperation(near.fileno())
            loop._model.start_operation(operation)
            operations.append(operation)
        assert loop._model.threads["alive"] >= CONNECTIONS
        for operation in operations:
            loop._model.stop_operation(operation)
        await until(lambda: loop._model.threads["alive"] == OF_THE_WAKER)

    run(loop, main())


def test_closed_loop_has_no_threads(name, pairs):
    before = threads_of_process()
    loops, echoes = [headrace.new_event_loop(name)], []

    async def main():
        for near, far in pairs:
            _, echo = await loops[0].create_connection(Echo, sock=near)
            far.send(b"x")
            echoes.append(echo)
        await asyncio.sleep(0)

    run(loops[0], main())
    loops[0].close()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        let_go_of(echoes, loops)
    # glibc's wait a second for more to do.
    deadline = time.monotonic() + 10
    while threads_of_process() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads_of_process() <= before


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "１２", str(THREADS_MAX + 1)])
def test_bad_count_of_threads_is_one_clear_line(name, text):
    ended = subprocess.run(
        [sys.executable, "-m", "headrace", "run", "--model", name, "-c", "pass"],
        env={**os.environ, "HEADRACE_THREADS": text},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"HEADRACE_THREADS must be a count of threads from 1 to {THREADS_MAX}" in ended.stderr
    assert repr(text) in ended.stderr


def test_count_of_threads_of_too_many_digits_to_be_a_number_is_refused_by_name(monkeypatch):
    for text in ("9" * 5000, "0" * 5000 + "7"):
        monkeypatch.setenv("HEADRACE_THREADS", text)
        with pytest.raises(ValueError, match="HEADRACE_THREADS must be a count") as caught:
            thread_limit()
        assert len(str(caught.value)) < 200


def test_models_names_a_bad_count_of_threads_as_the_reason(monkeypatch):
    ended = subprocess.run(
        [sys.executable, "-c", "import headrace; print(*headrace.models(), sep='\\n')"],
        env={**os.environ, "HEADRACE_THREADS": "many"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    lines = [line for line in ended.stdout.splitlines() if "HEADRACE_THREADS" in line]
    assert len(lines) == 2
    assert all("available=False" in line for line in lines)


def test_thread_limit_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("HEADRACE_THREADS", "17")
    assert thread_limit() == 17
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("HEADRACE_THREADS")
        else:
            monkeypatch.setenv("HEADRACE_THREADS", unset)
        assert thread_limit() == threads_that_fit()


def machine(folder, monkeypatch, *, group, files):
    """A /proc and a /sys/fs/cgroup of our own."""
    for path, text in {"proc/self/cgroup": group, **files}.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    module = sys.modules[thread_limit.__module__]  # headrace.models is a function as well
    monkeypatch.setattr(module, "PROC", folder / "proc")
    monkeypatch.setattr(module, "CGROUPS", folder / "cgroup")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))


GIBIBYTE = 1 << 30
MEMINFO = f"MemTotal: 1 kB\nMemAvailable: {GIBIBYTE // 1024} kB\n"
OF_ONE_GIBIBYTE = GIBIBYTE // 4 // (32 * 1024)


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("", {}, OF_ONE_GIBIBYTE),
        ("0::/a/b\n", {"cgroup/a/b/memory.max": "max\n"}, OF_ONE_GIBIBYTE),
        (
            "0::/a/b\n",
            {
                "cgroup/a/memory.max": str(GIBIBYTE // 2),
                "cgroup/a/memory.current": str(GIBIBYTE // 4),
            },
            OF_ONE_GIBIBYTE // 4,
        ),
        (
            "9:cpu,memory:/box\n3:pids:/box\n",
            {
                "cgroup/memory/box/memory.limit_in_bytes": str(GIBIBYTE // 2),
                "cgroup/memory/box/memory.usage_in_bytes": "0",
            },
            OF_ONE_GIBIBYTE // 2,
        ),
        ("0::/a\n", {"cgroup/a/pids.max": "100\n"}, 50),
        ("0::/a\n", {"proc/sys/kernel/threads-max": "300\n"}, 150),
        ("0::/a\n", {"cgroup/a/pids.max": "2\n"}, THREADS_MIN),
    ],
)
def test_threads_that_fit(tmp_path, monkeypatch, group, files, expected):
    files = {"proc/meminfo": MEMINFO, **files}
    machine(tmp_path, monkeypatch, group=group, files=files)
    assert threads_that_fit() == expected


def test_threads_fit_a_limit_on_processes(tmp_path, monkeypatch):
    machine(tmp_path, monkeypatch, group="", files={"proc/meminfo": MEMINFO})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    assert threads_that_fit() == 20


OUT_OF_THREADS = """
import asyncio, headrace, os, resource, socket
headrace.new_event_loop("{name}").close()  # all modules, while they can be read
# A user who is not root and has few threads: the fifth cannot be had.
user = 1_000_000 + os.getpid()  # nobody else's threads count
os.setresuid(user, user, user)
resource.setrlimit(resource.RLIMIT_NPROC, ({threads}, {threads}))
os.environ["HEADRACE_THREADS"] = "50"

async def main():
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(20)]
    ends = []
    for near, far in pairs:
        first = await asyncio.open_connection(sock=near)
        ends.append((first, await asyncio.open_connection(sock=far)))
    for (_, writer), _ in ends:
        writer.write(b"hello")
    for _, (reader, _) in ends:
        assert await reader.readexactly(5) == b"hello"
    print(loop._model.threads["alive"] < 20)

headrace.run(main(), model="{name}")
"""


def out_of_threads(name, *, threads):
    program = OUT_OF_THREADS.replace("{name}", name).replace("{threads}", str(threads))
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_model_that_gets_no_more_threads_goes_round_with_those_it_has(name):
    ended = out_of_threads(name, threads=4)
    assert ended.stderr == ""
    assert ended.stdout == "True\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_model_that_gets_no_thread_at_all_says_so(name):
    ended = out_of_threads(name, threads=1)
    assert ended.stdout == ""
    last = ended.stderr.splitlines()[-1]
    assert "ModelUnavailableError: the kernel has no thread left for this process" in last


# What a descriptor and a child share with others.


def in_child(work):
    """The exit code of a forked child that has done *work*."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(TIMEOUT_S // 2)
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_listener_stays_non_blocking_for_those_who_share_it(loop):
    """A flag of the file, not of the descriptor: another process's loop would stop in accept4()."""

    async def main():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        listening = server.sockets[0]
        for _ in range(3):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            assert not os.get_blocking(listening.fileno())
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_loop_closed_in_a_child_leaves_the_parents_connections_as_they_are(loop):
    near, far = socket.socketpair()
    with far, near.dup() as kept:
        _, echo = loop.run_until_complete(loop.create_connection(Echo, sock=near))
        loop.run_until_complete(until(lambda: os.get_blocking(kept.fileno())))

        def close():
            loop.close()
            return 0

        assert in_child(close) == 0
        assert os.get_blocking(kept.fileno())
        echo.transport.close()
        loop.run_until_complete(echo.lost)
        assert not os.get_blocking(kept.fileno())


class Interrupting(Echo):
    """The first to receive ends the run, and leaves what others have received in the queue."""

    interrupted = False
    received = ()

    def data_received(self, data):
        if not Interrupting.interrupted:
            Interrupting.interrupted = True
            raise KeyboardInterrupt
        Interrupting.received += (data,)


def test_child_finds_what_was_queued_at_the_fork_in_its_buffers(loop):
    Interrupting.interrupted, Interrupting.received = False, ()
    made = [socket.socketpair() for _ in range(2)]
    echoes = [
        loop.run_until_complete(loop.create_connection(Interrupting, sock=near))[1]
        for near, _ in made
    ]
    loop.run_until_complete(until(lambda: os.get_blocking(made[1][0].fileno())))
    for _, far in made:
        far.send(b"hello")
    while loop._callbacks_pending() < len(made):
        loop._model.wait(0)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(1))

    def go_on():
        loop.run_until_complete(asyncio.sleep(0.1))
        pool = loop._model.pool
        # (The waker's receive holds none.)
        return 0 if Interrupting.received == (b"hello",) and pool.idle_count == pool.count else 2

    assert in_child(go_on) == 0
    loop.run_until_complete(asyncio.sleep(0.1))
    assert Interrupting.received == (b"hello",)
    for echo, (_, far) in zip(echoes, made, strict=True):
        echo.transport.close()
        loop.run_until_complete(echo.lost)
        far.close()


# How many accepted connections of a listener may wait for the loop; the worker holds one more.
PIECES_MAX = 4


def sockets_of_process():
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return found


def is_any_worker_running():
    own = str(threading.get_native_id())
    for task in set(os.listdir("/proc/self/task")) - {own}:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/stat") as status:
            if status.read().rpartition(")")[2].split()[0] != "S":
                return True
    return False


def test_child_closes_the_accepted_connections_that_waited_at_the_fork(loop):
    """They are the parent's, which serves them: a copy in the child would keep them from ending."""
    made = []

    def make():
        made.append(Echo())
        return made[-1]

    server = loop.run_until_complete(loop.create_server(make, "127.0.0.1", 0))
    before = sockets_of_process()
    address = server.sockets[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(PIECES_MAX + 1)]
    # All accepted, told as far as may be, and the worker waits until the loop listens.
    deadline = time.monotonic() + TIMEOUT_S
    while sockets_of_process() < before + 2 * len(clients) or is_any_worker_running():
        assert time.monotonic() < deadline

    def go_on():
        loop.run_until_complete(asyncio.sleep(0))
        return sockets_of_process() - before - len(clients)

    assert in_child(go_on) == 0
    loop.run_until_complete(until(lambda: len(made) == len(clients)))
    for client in clients:
        client.close()
    for echo in made:
        loop.run_until_complete(until(lambda echo=echo: hasattr(echo, "lost")))
        loop.run_until_complete(echo.lost)
    server.close()
    loop.run_until_complete(server.wait_closed())


def test_what_stands_behind_a_send_goes_out_when_the_loop_stops(loop):
    """The thread has sent, its completion has not come up, and nobody runs the loop again."""
    near, far = socket.socketpair()
    far.settimeout(TIMEOUT_S)
    with near, far:
        transport, _ = loop.run_until_complete(
            loop.create_connection(asyncio.Protocol, sock=near.dup())
        )
        transport.write(SENT_FIRST)  # more than the socket takes: a thread sleeps in the call

        def end():
            assert read_exactly(far, len(SENT_FIRST)) == SENT_FIRST
            transport.write(b"the last words")
            loop.stop()

        loop.call_soon(end)
        loop.run_forever()
        assert read_exactly(far, len(b"the last words")) == b"the last words"
        loop.run_until_complete(asyncio.sleep(0))
        assert transport.get_write_buffer_size() == 0
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0.01))


def read_exactly(sock, size):
    return b"".join(iter_exactly(sock, size))


def iter_exactly(sock, size):
    while size:
        piece = sock.recv(size)
        assert piece
        size -= len(piece)
        yield piece
