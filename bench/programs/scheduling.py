"""What a loop takes for one operation of its own, without any I/O.

Prints one line of JSON: nanoseconds of CPU time and of wall time per operation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from operation import Operation, main

BATCH = 1000
TIMERS_PENDING = 10_000
DELAY_S = 60.0


def nothing() -> None:
    pass


async def chain(schedule: Callable[[Callable[[], None]], object], count: int) -> None:
    """Each callback schedules the next: one per turn of the loop."""
    done = asyncio.get_running_loop().create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            schedule(step)
        else:
            done.set_result(None)

    schedule(step)
    await done


async def call_soon_chain(count: int) -> None:
    await chain(asyncio.get_running_loop().call_soon, count)


async def threadsafe_chain(count: int) -> None:
    """call_soon_threadsafe in the loop's own thread, from each callback."""
    await chain(asyncio.get_running_loop().call_soon_threadsafe, count)


async def call_soon_batch(count: int) -> None:
    """A thousand callbacks in one turn."""
    loop = asyncio.get_running_loop()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            loop.call_soon(nothing)
        await asyncio.sleep(0)


async def timer_set_cancelled(count: int) -> None:
    """A timer that is cancelled at once, as each timeout that is not needed."""
    loop = asyncio.get_running_loop()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            loop.call_later(DELAY_S, nothing).cancel()
        await asyncio.sleep(0)


async def timers_pending(count: int) -> None:
    """Ten thousand timers wait; each is cancelled and set anew, the oldest first."""
    loop = asyncio.get_running_loop()
    waiting = [loop.call_later(DELAY_S, nothing) for _ in range(TIMERS_PENDING)]
    for start in range(0, count, BATCH):
        for index in range(start, start + BATCH):
            place = index % TIMERS_PENDING
            waiting[place].cancel()
            waiting[place] = loop.call_later(DELAY_S, nothing)
        await asyncio.sleep(0)
    for timer in waiting:
        timer.cancel()


async def answer() -> int:
    return 1


async def task_created_awaited(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_task(answer())


async def gather(count: int) -> None:
    """A hundred coroutines at once; an operation is one of them."""
    for _ in range(count // 100):
        await asyncio.gather(*[answer() for _ in range(100)])


async def sleep_zero(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def event_ping_pong(count: int) -> None:
    """Two tasks wake each other; an operation is there and back."""
    ping, pong = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        for _ in range(count):
            await ping.wait()
            ping.clear()
            pong.set()

    task = asyncio.create_task(other())
    for _ in range(count):
        ping.set()
        await pong.wait()
        pong.clear()
    await task


async def queue_ping_pong(count: int) -> None:
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def other() -> None:
        for _ in range(count):
            back.put_nowait(await there.get())

    task = asyncio.create_task(other())
    for number in range(count):
        there.put_nowait(number)
        await back.get()
    await task


async def threadsafe_from_thread(count: int) -> None:
    """Another thread calls, and waits until each callback has run."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    ran = threading.Semaphore(0)

    def call() -> None:
        for _ in range(count):
            loop.call_soon_threadsafe(ran.release)
            ran.acquire()
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=call)
    thread.start()
    await done
    thread.join()


CELLS: dict[str, tuple[Operation, int]] = {
    "call_soon chain": (call_soon_chain, 200_000),
    "call_soon batch": (call_soon_batch, 400_000),
    "timer set + cancelled": (timer_set_cancelled, 1_000_000),
    "timer, 10,000 pending": (timers_pending, 200_000),
    "create_task + await": (task_created_awaited, 100_000),
    "gather of 100": (gather, 100_000),
    "sleep(0)": (sleep_zero, 200_000),
    "Event ping-pong": (event_ping_pong, 50_000),
    "Queue ping-pong": (queue_ping_pong, 50_000),
    "call_soon_threadsafe": (threadsafe_chain, 100_000),
    "call_soon_threadsafe, thread": (threadsafe_from_thread, 20_000),
}


if __name__ == "__main__":
    main(CELLS, BATCH)
