"""The loop and threads: calls from others, executors, names looked up, loops in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading

import pytest

import headrace


def test_loops_run_side_by_side_in_threads(model):
    async def ping_pong():
        left, right = socket.socketpair()
        loop = asyncio.get_running_loop()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            for number in range(200):
                receiving = loop.create_task(loop.sock_recv(right, 100))
                await loop.sock_sendall(left, b"%d" % number)
                assert await receiving == b"%d" % number
        return number

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(headrace.run, ping_pong(), model=model) for _ in range(4)]
        assert [future.result(timeout=30) for future in running] == [199] * 4


def test_loop_made_in_one_thread_runs_in_others_and_here(headrace_loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)

    async def exchange(message):
        loop = asyncio.get_running_loop()
        receiving = loop.create_task(loop.sock_recv(far, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(near, message)
        return await receiving

    def in_a_thread(message):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(headrace_loop.run_until_complete, exchange(message)).result(30)

    with near, far:
        assert in_a_thread(b"one") == b"one"
        assert headrace_loop.run_until_complete(exchange(b"two")) == b"two"
        assert in_a_thread(b"three") == b"three"


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop):
    asleep = threading.Event()
    ran = []

    def call():
        asleep.wait()
        for number in range(1000):
            loop.call_soon_threadsafe(ran.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=call)
    thread.start()
    loop.call_soon(loop.call_soon, asleep.set)
    loop.run_forever()
    thread.join()
    assert ran == list(range(1000))


def test_call_soon_threadsafe_from_many_threads_loses_none(loop):
    counts = {"ran": 0}

    def count():
        counts["ran"] += 1
        if counts["ran"] == 4000:
            loop.stop()

    def call():
        for _ in range(1000):
            loop.call_soon_threadsafe(count)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert counts["ran"] == 4000


def test_run_coroutine_threadsafe_answers_the_other_thread(loop):
    answers = []

    async def work():
        await asyncio.sleep(0)
        return "answer"

    def ask():
        answers.append(asyncio.run_coroutine_threadsafe(work(), loop).result(30))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run_forever()
    thread.join()
    assert answers == ["answer"]


def test_executor_runs_functions_and_hands_on_errors(run, loop):
    async def main():
        assert await loop.run_in_executor(None, threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert await loop.run_in_executor(pool, sum, [1, 2]) == 3
        results = await asyncio.gather(*[asyncio.to_thread(pow, 2, n) for n in range(100)])
        assert results == [2**n for n in range(100)]

    run(main())


def test_getaddrinfo_and_getnameinfo_answer(run, loop):
    async def main():
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found[0][4] == ("127.0.0.1", 80)
        host, _ = await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        assert host == "127.0.0.1"
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("name.invalid", 80, flags=socket.AI_NUMERICHOST)

    run(main())


def test_callback_from_another_thread_is_an_error_in_debug_mode(run, loop):
    loop.set_debug(True)

    async def main():
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await asyncio.to_thread(loop.call_soon, print)
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await asyncio.to_thread(loop.call_later, 1, print)
        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.call_soon(main)

    run(main())
    loop.set_debug(False)
