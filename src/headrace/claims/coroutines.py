"""Generators and coroutines by themselves: where they switch, in which order, what they need."""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType

from headrace.claims import verdicts
from headrace.claims.claim import DEPENDS, REFUTED, UNDECIDED, Curve, Finding, Scale, claim
from headrace.claims.kernel_calls import calls_of
from headrace.claims.measure import (
    costs_ns,
    interleaved,
    log_slope,
    medians,
    ratio,
    voluntary_switches,
)
from headrace.claims.sources import NotDecidableError

GROUP = "Coroutines"
SWITCHES = 10_000
ITEMS = 20_000
RUNS = 100
DEPTHS = (4, 16, 64, 256)


def consumer() -> Generator[int, int, None]:
    """The notes' consumer: answers each item, and keeps what it got."""
    total = 0
    while True:
        item = yield total
        total += item


def produce(items: int) -> int:
    """The notes' producer, in Python 3; the consumer's answer to the last item."""
    target = consumer()
    next(target)
    answer = 0
    for item in range(items):
        answer = target.send(item)
    target.close()
    return answer


class CountingLock:
    """A lock that counts how often it is taken; what queue.Queue makes of it counts as well."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        is_taken = self.lock.acquire(blocking, timeout)
        self.taken += is_taken  # a condition tries in vain to see whether it is ours
        return is_taken

    def release(self) -> None:
        self.lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def produce_for_thread(items: int) -> tuple[int, int]:
    """The same through a queue to a thread: the sum, and how often the queue's lock was taken."""
    lock = CountingLock()
    channel: queue.Queue[int | None] = queue.Queue()
    channel.mutex = lock  # type: ignore[assignment]
    channel.not_empty = threading.Condition(lock)  # type: ignore[arg-type]
    channel.not_full = threading.Condition(lock)  # type: ignore[arg-type]
    channel.all_tasks_done = threading.Condition(lock)  # type: ignore[arg-type]
    totals: list[int] = []

    def consume() -> None:
        total = 0
        while (item := channel.get()) is not None:
            total += item
        totals.append(total)

    thread = threading.Thread(target=consume)
    thread.start()
    for item in range(items):
        channel.put(item)
    channel.put(None)
    thread.join()
    return totals[0], lock.taken


@claim(
    "producer-consumer", 4,
    sentence="通过锁机制控制队列和等待；如果改用协程，生产者生产消息后，直接通过yield跳转到消费者"
    "开始执行，效率极高",
    english="Producer and consumer need locks and a queue; as coroutines they switch by yield,"
    " and very efficiently",
    reading="Locks taken for each item, with every item accounted for; and CPU of an item through"
    " a queue between threads, divided by that of the generator.",
)  # fmt: skip
def producer_consumer(scale: Scale) -> Finding:
    items = ITEMS // 10 if scale.name == "smallest" else ITEMS
    expected = sum(range(items))
    by_thread, locks = produce_for_thread(items)
    is_right = produce(items) == expected == by_thread
    found = interleaved(
        {
            "generator": lambda: cpu_of(lambda: produce(items)),
            "thread": lambda: cpu_of(lambda: produce_for_thread(items)),
        },
        3,
    )
    times = ratio(found["thread"], found["generator"])
    number = (
        f"locks an item: generator 0, queue between threads {locks / items:.1f}; CPU {times} times"
    )
    figures = {"locks_an_item": locks / items, "cpu_ratio": times.middle}
    verdict = verdicts.all_of(
        verdicts.counted(is_right and locks >= 2 * items), verdicts.at_least(times, 2)
    )
    return Finding(verdict, number, figures)


def cpu_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@claim(
    "switch-in-user-space", 4,
    sentence="协程的特点：所有的切换和调度都发生在用户态",
    english="Coroutines switch, and are scheduled, entirely in user space",
    reading="10,000 resumptions of a generator: what the kernel counted meanwhile. (An event loop"
    " asks the kernel once a turn, for all its coroutines together.)",
)  # fmt: skip
def switch_in_user_space(scale: Scale) -> Finding:
    target = consumer()
    next(target)

    def switch() -> None:
        for _ in range(SWITCHES):
            target.send(1)

    switches = min(sleeps_of(switch) for _ in range(3))
    number = f"{SWITCHES:,} switches: {switches} context switches"
    figures = {"switches": switches}
    try:
        calls = calls_of(switch)
    except NotDecidableError as error:
        # That nobody slept does not say that nobody called.
        verdict = REFUTED if switches else UNDECIDED
        return Finding(verdict, f"{number}; {error}", figures)
    number += f", {calls} system calls"
    return Finding(verdicts.counted(not switches and not calls), number, figures)


def sleeps_of(work: Callable[[], object]) -> int:
    before = voluntary_switches()
    work()
    return voluntary_switches() - before


@claim(
    "order-is-certain", 4,
    sentence="由于抢占式调度执行顺序无法确定的特点，使用线程时需要非常小心地处理同步问题，而协程完"
    "全不存在这个问题",
    english="Threads are preempted, their order is uncertain, and need care; coroutines have no"
    " such problem",
    reading="A read, a pause and a write of one counter by four workers. Coroutines are certain"
    " to keep their order, and lose updates all the same where the pause is an await: they too"
    " need care, at each await, but only there.",
)  # fmt: skip
def order_is_certain(scale: Scale) -> Finding:
    orders = {tuple(asyncio.run(order_of_workers())) for _ in range(RUNS // 5)}
    without = asyncio.run(count_up(pause=False))
    with_await = asyncio.run(count_up(pause=True))
    number = (
        f"{len(orders)} order in {RUNS // 5} runs; updates kept of {4 * RUNS}: {without} without an"
        f" await in between, {with_await} with one"
    )
    figures = {"orders": len(orders), "kept": without, "kept_with_await": with_await}
    is_certain = len(orders) == 1 and without == 4 * RUNS
    if not is_certain:
        return Finding(REFUTED, number, figures)
    return Finding(verdicts.counted(True) if with_await == without else DEPENDS, number, figures)


async def order_of_workers() -> list[int]:
    seen: list[int] = []

    async def work(number: int) -> None:
        for _ in range(5):
            seen.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(4)))
    return seen


async def count_up(*, pause: bool) -> int:
    total = 0

    async def work() -> None:
        nonlocal total
        for _ in range(RUNS):
            value = total
            if pause:
                await asyncio.sleep(0)
            total = value + 1
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(4)))
    return total


async def nested(depth: int, innermost: Callable[[], object]) -> None:
    if depth > 1:
        await nested(depth - 1, innermost)
        return
    while True:
        await Pause()
        innermost()


class Pause:
    """Suspends the whole chain once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def frames_above(frame: FrameType | None, name: str) -> int:
    count = 0
    while frame is not None:
        count += frame.f_code.co_name == name
        frame = frame.f_back
    return count


@claim(
    "resumed-from-outermost", 1,
    sentence="内部的协程暂停了，恢复时需要从最外层的协程开始执行",
    english="When an inner coroutine was suspended, it is resumed from the outermost one on",
    reading="Frames of the chain on the stack when the innermost goes on: all of them. So the"
    " cost of a resumption grows with the depth; its exponent is given.",
)  # fmt: skip
def resumed_from_outermost(scale: Scale) -> Finding:
    depth = 5
    seen: list[int] = []
    chain = nested(depth, lambda: seen.append(frames_above(inspect.currentframe(), "nested")))
    chain.send(None)
    chain.send(None)
    chain.close()
    calls = {}
    chains = [nested(one, lambda: None) for one in DEPTHS]
    for one, coroutine in zip(DEPTHS, chains, strict=True):
        coroutine.send(None)
        calls[one] = lambda send=coroutine.send: send(None)
    costs = medians(costs_ns(calls, scale.rounds, scale.batch_s))
    for coroutine in chains:
        coroutine.close()
    points = [(float(one), cost / 1e3) for one, cost in costs.items()]
    slope = log_slope(points)
    number = (
        f"{seen[0]} of {depth} frames are resumed; cost grows with the depth to the power {slope}"
    )
    curve = Curve("depth of the chain", "µs a resumption", {"await in await": points})
    figures = {"frames": seen[0], "exponent": slope.value}
    return Finding(verdicts.counted(seen[0] == depth), number, figures, curve)


@claim(
    "await-rules", 1,
    sentence="await只能在async中使用；不可以使用yield from；yield在async def中使用不常见，会创建一"
    "个异步生成器",
    english="await works only in async functions; yield from does not in them; yield makes an"
    " async generator",
    reading="What Python's own compiler says to each.",
)  # fmt: skip
def await_rules(scale: Scale) -> Finding:
    outside = is_refused("def f():\n await g()")
    yield_from = is_refused("async def f():\n yield from g()")
    names: dict[str, object] = {}
    exec("async def f():\n yield 1", names)
    is_generator = inspect.isasyncgenfunction(names["f"])
    right = sum((outside, yield_from, is_generator))
    return Finding(verdicts.counted(right == 3), f"{right} of 3 are so", {"right": right})


def is_refused(program: str) -> bool:
    try:
        compile(program, "<claim>", "exec")
    except SyntaxError:
        return True
    return False


@claim(
    "calling-runs-nothing", 1,
    sentence="调用协程函数必须先用await获取结果",
    english="A coroutine function that was called has to be awaited for its result",
    reading="Steps that ran after the call, and after it was awaited.",
)  # fmt: skip
def calling_runs_nothing(scale: Scale) -> Finding:
    steps: list[int] = []

    async def function() -> int:
        steps.append(1)
        return 42

    waiting = function()
    before = len(steps)
    answer = asyncio.run(_awaited(waiting))
    number = f"{before} steps ran at the call, {len(steps)} when awaited, result {answer}"
    return Finding(verdicts.counted((before, len(steps), answer) == (0, 1, 42)), number)


async def _awaited(waiting: object) -> object:
    return await waiting  # type: ignore[misc]
