"""asyncio programs over the loop itself: callbacks, timers, threads, signals."""

import asyncio
import contextvars
import os
import signal
import threading

import pytest
from program import turns

# Callbacks and timers.


def test_callbacks_run_in_order_and_in_the_next_turn(loop, run):
    seen = []

    async def main():
        loop.call_soon(seen.append, 1)
        loop.call_soon(lambda: (seen.append(2), loop.call_soon(seen.append, 4)))
        loop.call_soon(seen.append, 3)
        assert seen == []
        await turns(3)

    run(main())
    assert seen == [1, 2, 3, 4]


def test_timers_fire_in_the_order_of_their_deadlines(loop, run):
    seen = []

    async def main():
        now = loop.time()
        done = loop.create_future()
        for delay in (3, 1, 2, 1):
            loop.call_at(now + delay * 1e-3, seen.append, delay)
        loop.call_at(now + 4e-3, done.set_result, None)
        await done

    run(main())
    assert seen == [1, 1, 2, 3]


def test_timer_is_never_early(loop, run):
    async def main():
        start = loop.time()
        await asyncio.sleep(0.01)
        assert loop.time() - start >= 0.01 - 1e-6

    run(main())


def test_cancelled_callbacks_do_not_run(loop, run):
    async def main():
        handles = [
            loop.call_soon(pytest.fail, "soon"),
            loop.call_later(0.001, pytest.fail, "later"),
            loop.call_at(loop.time(), pytest.fail, "at"),
        ]
        for handle in handles:
            handle.cancel()
            assert handle.cancelled()
        done = loop.create_future()
        loop.call_later(0.001, done.set_result, None)  # behind them all
        await done

    run(main())


def test_callbacks_run_in_their_context(loop, run):
    variable = contextvars.ContextVar("variable")
    seen = []

    async def main():
        variable.set("outer")
        context = contextvars.copy_context()
        context.run(variable.set, "inner")
        loop.call_soon(lambda: seen.append(variable.get()))
        loop.call_soon(lambda: seen.append(variable.get()), context=context)
        done = loop.create_future()
        loop.call_later(0, lambda: done.set_result(variable.get()))
        seen.append(await done)

    run(main())
    assert seen == ["outer", "inner", "outer"]


def test_callback_that_raises_is_reported_and_the_next_runs(loop, run, errors):
    seen = []

    async def main():
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(seen.append, "next")
        await turns(3)

    run(main())
    assert seen == ["next"]
    assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]
    errors.clear()


def test_keyboard_interrupt_in_a_callback_stops_the_loop_which_can_go_on(loop, run):
    def interrupt():
        raise KeyboardInterrupt

    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert run(asyncio.sleep(0, "still runs")) == "still runs"


def test_time_out_cancels_what_waits(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(left, 10), 0.005)
        right.send(b"not lost")
        assert await loop.sock_recv(left, 10) == b"not lost"

    run(main())


# Threads and signals.


def test_call_soon_threadsafe_from_many_threads(loop, run):
    seen = []

    async def main():
        done = loop.create_future()

        def note(number):
            seen.append(number)
            if len(seen) == 400:
                done.set_result(None)

        def work(first):
            for number in range(first, first + 100):
                loop.call_soon_threadsafe(note, number)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 100)]
        for thread in threads:
            thread.start()
        await done
        for thread in threads:
            thread.join()

    run(main())
    assert sorted(seen) == list(range(400))


def test_executor_results_come_back(loop, run):
    async def main():
        return await asyncio.gather(
            *(loop.run_in_executor(None, lambda n=n: n * n) for n in range(10))
        )

    assert run(main()) == [n * n for n in range(10)]


def test_signal_handler_runs_in_the_loop(loop, run):
    async def main():
        done = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, done.set_result, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await done == "signal"
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)

    run(main())
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_run_coroutine_threadsafe(loop, run):
    async def work():
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main():
        def call():
            return asyncio.run_coroutine_threadsafe(work(), loop).result()

        return await loop.run_in_executor(None, call)

    assert run(main()) == threading.get_ident()
