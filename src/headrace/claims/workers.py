"""What threads and processes cost: memory, switches, and the limit of a pool."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from headrace.claims import verdicts
from headrace.claims.claim import Curve, Finding, Scale, claim
from headrace.claims.measure import (
    interleaved,
    interval,
    medians,
    ratio,
    resident_bytes,
    voluntary_switches,
)
from headrace.claims.sources import NotDecidableError, forked

GROUP = "Threads, processes, coroutines"
THREADS = 200
PROCESSES = 10
COROUTINES = 10_000
POOL = 8
POOL_ROUNDS_MAX = 9
WEIGHINGS_MAX = 9
SWITCHES = 2000
KIBIBYTE = 1024
UNWEIGHED = "not weighed: "
OFTEN = 0.5
RARELY = 0.1
"""Threads that a pool makes, as a share of those that are made without one."""


def gauge(scale: Scale, count: int) -> int:
    return count // 5 if scale.name == "smallest" else count


def bytes_of_thread(count: int) -> float:
    """Memory of one of so many threads that all wait in a read().

    Raises:
        NotDecidableError: a limit of memory or of threads is lower.
    """
    reader, writer = os.pipe()
    before = resident_bytes()
    threads: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=os.read, args=(reader, 1))
            thread.start()
            threads.append(thread)
        return (resident_bytes() - before) / count
    except RuntimeError as error:  # Python's for a pthread_create() that fails
        raise NotDecidableError(too_few("threads", count, len(threads), error)) from error
    finally:
        os.write(writer, b"x" * count)
        for thread in threads:
            thread.join()
        os.close(reader)
        os.close(writer)


def bytes_of_process(count: int) -> float:
    """Private memory of one of so many forked children that all wait in a read().

    Raises:
        NotDecidableError: a limit of memory or of processes is lower.
    """
    reader, writer = os.pipe()
    ready_reader, ready_writer = os.pipe()

    def wait() -> None:
        os.write(ready_writer, b"x")
        os.read(reader, 1)

    try:
        with ExitStack() as stack:
            pids: list[int] = []
            try:
                for _ in range(count):
                    pids.append(stack.enter_context(forked(wait)))
            except OSError as error:
                raise NotDecidableError(too_few("processes", count, len(pids), error)) from error
            for _ in pids:
                os.read(ready_reader, 1)
            return sum(resident_bytes(pid) + page_table_bytes(pid) for pid in pids) / count
    finally:
        for fd in (reader, writer, ready_reader, ready_writer):
            os.close(fd)


def too_few(what: str, count: int, started: int, error: Exception) -> str:
    reached = f"only {started:,}" if started else "none"
    return f"needs {count:,} {what}; {reached} could be started ({error}): see ulimit -v and -u"


def page_table_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmPTE:"))
    return int(line.split()[1]) * KIBIBYTE


def bytes_of_coroutine(count: int) -> float:
    """Memory of one of so many tasks that all wait for the same future."""

    async def measure() -> float:
        gate = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await asyncio.shield(gate)

        before = resident_bytes()
        tasks = [asyncio.ensure_future(wait()) for _ in range(count)]
        await asyncio.sleep(0)
        taken = (resident_bytes() - before) / count
        gate.set_result(None)
        await asyncio.gather(*tasks)
        return taken

    return asyncio.run(measure())


def weighed(
    scale: Scale, who: str, weigh: Callable[[int], float], count: int, bound: float
) -> Finding:
    """How many times a coroutine's memory that of a thread or process is."""
    # Each in a child: in one process the second would take up what the first has freed.
    found = interleaved(
        {
            who: lambda: in_child(lambda: weigh(gauge(scale, count))),
            "coroutine": lambda: in_child(lambda: bytes_of_coroutine(gauge(scale, COROUTINES))),
        },
        min(scale.rounds, WEIGHINGS_MAX),
    )
    times = ratio(found[who], found["coroutine"])
    middle = medians(found)
    number = (
        f"{middle[who] / KIBIBYTE:,.0f} KiB for a {who}, {middle['coroutine'] / KIBIBYTE:.1f} KiB"
        f" for a coroutine: {times} times"
    )
    figures = {f"{one}_bytes": value for one, value in middle.items()}
    return Finding(verdicts.at_least(times, bound), number, figures | {"ratio": times.middle})


def in_child(weigh: Callable[[], float]) -> float:
    """What a child of ours answers, which starts with the memory that we have.

    Raises:
        NotDecidableError: the child's, with its words; or there is not even the memory for that.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader) as answer:

        def tell() -> None:
            gc.collect()  # which writes to all objects: their pages are the child's own before
            try:
                words = str(weigh())
            except (NotDecidableError, MemoryError) as error:
                words = UNWEIGHED + (str(error) or "not enough memory: see ulimit -v")
            os.write(writer, words.encode())

        try:
            with forked(tell):
                os.close(writer)
                words = answer.read()
        except OSError as error:  # of fork(), before the pipe is closed
            os.close(writer)
            raise NotDecidableError(f"no child could be started ({error})") from error
    if not words:
        raise RuntimeError("the child that was to weigh ended without an answer")
    if words.startswith(UNWEIGHED):
        raise NotDecidableError(words.removeprefix(UNWEIGHED))
    return float(words)


@claim(
    "thread-memory", 3, 4,
    sentence="在遇到要同时响应成百上千路的连接请求，则无论多线程还是多进程都会严重占据系统资源",
    english="For hundreds or thousands of connections, threads take up a system's resources",
    reading="Private memory of a thread that waits, against that of a waiting coroutine in a"
    " task. The kernel's 16 KiB of stack for each thread come on top, and 8 MiB of addresses.",
)  # fmt: skip
def thread_memory(scale: Scale) -> Finding:
    return weighed(scale, "thread", bytes_of_thread, THREADS, 3)


@claim(
    "process-memory", 3,
    sentence="则无论多线程还是多进程都会严重占据系统资源，降低系统对外界响应效率",
    english="For hundreds or thousands of connections, processes take up a system's resources",
    reading="Private memory and page tables of a forked child that waits; what it shares with its"
    " parent is not counted, and grows into it as soon as it works.",
)  # fmt: skip
def process_memory(scale: Scale) -> Finding:
    return weighed(scale, "process", bytes_of_process, PROCESSES, 10)


@claim(
    "pool-saves-threads", 3,
    sentence="“线程池”旨在减少创建和销毁线程的频率，并让空闲的线程重新承担新的执行任务",
    english="A pool makes it rarer that threads are made and ended; idle ones get new work",
    reading="Threads, by the kernel's numbers, that 500 small tasks were run by, one after the"
    " other, in a pool that may have a thread for each; and CPU of a task with a thread for each,"
    " divided by the pool's.",
)  # fmt: skip
def pool_saves_threads(scale: Scale) -> Finding:
    tasks = gauge(scale, 500)
    made: dict[str, list[int]] = {"pool": [], "threads": []}

    def sample(who: str, run: Callable[[int], set[int]]) -> float:
        start = time.process_time()
        made[who].append(len(run(tasks)))
        return time.process_time() - start

    found = interleaved(
        {
            "pool": lambda: sample("pool", threads_of_pool),
            "threads": lambda: sample("threads", threads_of_their_own),
        },
        3,
    )
    times = ratio(found["threads"], found["pool"])
    pool, threads = max(made["pool"]), min(made["threads"])
    number = (
        f"threads for {tasks} tasks: {pool} of a pool, {threads} without;"
        f" CPU without a pool {times} times as much"
    )
    figures = {"threads": pool, "threads_without": threads, "cpu_ratio": times.middle}
    return Finding(verdicts.share_below(pool / threads, OFTEN, RARELY), number, figures)


def threads_of_pool(tasks: int) -> set[int]:
    """Which threads have run so many tasks, one after the other; there may be as many."""
    with ThreadPoolExecutor(tasks) as pool:
        return {pool.submit(threading.get_native_id).result() for _ in range(tasks)}


def threads_of_their_own(tasks: int) -> set[int]:
    """The same with a thread for each."""
    seen: set[int] = set()
    for _ in range(tasks):
        thread = threading.Thread(target=lambda: seen.add(threading.get_native_id()))
        thread.start()
        thread.join()
    return seen


@claim(
    "pool-helps-to-its-size", 3,
    sentence="所谓“池”始终有其上限，当请求大大超过上限时，“池”构成的系统对外界的响应并不比没有池的"
    "时候效果好多少",
    english="A pool has its limit: with far more requests than that its answers are not much"
    " better",
    reading="Time until all answers are there, for requests that block a while, in units of that"
    " while: 1 up to the pool's size, then in steps. A thread for each would stay at 1.",
)  # fmt: skip
def pool_helps_to_its_size(scale: Scale) -> Finding:
    block_s = scale.wait_s / 2
    counts = (POOL // 2, POOL, 2 * POOL, 4 * POOL)
    found = interleaved(
        {count: partial(pool_time, count, block_s) for count in counts},
        min(scale.rounds, POOL_ROUNDS_MAX),
    )
    times = ratio(found[4 * POOL], found[POOL])
    points = [(float(count), taken / block_s) for count, taken in medians(found).items()]
    within, beyond = points[1][1], points[-1][1]
    number = (
        f"{POOL} at once: {within:.1f} times one; {4 * POOL} at once: {beyond:.1f} times;"
        f" ratio {times}"
    )
    curve = Curve("requests at once", "time of one", {f"pool of {POOL}": points})
    figures = {"within": within, "beyond": beyond, "ratio": times.middle}
    return Finding(verdicts.at_least(times, 2), number, figures, curve)


def pool_time(count: int, block_s: float) -> float:
    with ThreadPoolExecutor(POOL) as pool:
        list(pool.map(time.sleep, [0.0] * POOL))  # its threads are made
        start = time.monotonic()
        list(pool.map(time.sleep, [block_s] * count))
        return time.monotonic() - start


def thread_switch_us(count: int) -> float:
    """CPU of the process for one switch between two threads that wake each other in turn."""
    first, second = threading.Lock(), threading.Lock()
    first.acquire()
    second.acquire()

    def other() -> None:
        for _ in range(count // 2):
            first.acquire()
            second.release()

    thread = threading.Thread(target=other)
    thread.start()
    start = time.process_time_ns()
    for _ in range(count // 2):
        first.release()
        second.acquire()
    taken = time.process_time_ns() - start
    thread.join()
    return taken / 1e3 / count


def task_switch_us(count: int) -> float:
    """CPU of the process for one switch between two tasks on an event loop."""

    async def give_way() -> None:
        for _ in range(count // 2):
            await asyncio.sleep(0)

    async def both() -> float:
        start = time.process_time_ns()
        await asyncio.gather(give_way(), give_way())
        return (time.process_time_ns() - start) / 1e3 / count

    import headrace

    return headrace.run(both(), model="epoll")


def generator_switch_us(count: int) -> float:
    def coroutine() -> Generator[None, None, None]:
        while True:
            yield

    one = coroutine()
    step: Callable[[], object] = one.__next__
    start = time.process_time_ns()
    for _ in range(count):
        step()
    # There and back are two switches.
    return (time.process_time_ns() - start) / 1e3 / count / 2


@claim(
    "switch-cost", 2, 4,
    sentence="系统切换线程的开销也很大",
    english="Switching threads costs the system much",
    reading="CPU of one switch: two threads that wake each other, two tasks on an event loop, and"
    " a generator that is resumed. The thread's is divided by the task's.",
)  # fmt: skip
def switch_cost(scale: Scale) -> Finding:
    count = gauge(scale, SWITCHES)
    found = interleaved(
        {
            "thread": lambda: thread_switch_us(count),
            "task": lambda: task_switch_us(count),
            "generator": lambda: generator_switch_us(count),
        },
        scale.rounds,
    )
    times = ratio(found["thread"], found["task"])
    middle = {who: interval(samples).middle for who, samples in found.items()}
    number = (
        f"thread {middle['thread']:.1f} µs, task {middle['task']:.2f} µs,"
        f" generator {middle['generator']:.2f} µs: thread {times} times the task"
    )
    figures = {f"{who}_us": value for who, value in middle.items()} | {"ratio": times.middle}
    return Finding(verdicts.at_least(times, 1.5), number, figures)


@claim(
    "thread-switch-sleeps", 4,
    sentence="不管是进程还是线程，每次阻塞、切换都需要陷入系统调用",
    english="Processes and threads enter the kernel each time they block or switch",
    reading="Context switches that the kernel counted for one of two threads that hand over to"
    " each other so many times. Hand-overs that the other had done already need none.",
)  # fmt: skip
def thread_switch_sleeps(scale: Scale) -> Finding:
    count = gauge(scale, SWITCHES)
    before = voluntary_switches()
    thread_switch_us(count)
    each = (voluntary_switches() - before) / (count / 2)
    number = f"{each:.2f} context switches for each hand-over"
    return Finding(verdicts.share_above(each, 0.3, 0.05), number, {"switches": each})
