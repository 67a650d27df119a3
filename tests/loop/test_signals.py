"""Signals: handlers, interrupts and the wake-up descriptor, also while the loop sleeps."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading

import pytest

import headrace


@pytest.fixture(autouse=True)
def _handlers_restored():
    numbers = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1


def send_when_asleep(loop, number):
    """From another thread, after a turn in which nothing was left to do."""
    main = threading.main_thread().ident
    loop.call_soon(
        loop.call_soon, threading.Thread(target=signal.pthread_kill, args=(main, number)).start
    )


def is_open_fd(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_signal_wakes_a_sleeping_loop_and_runs_its_handler(loop):
    received = []

    def handler(*arguments):
        received.append(arguments)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler, "an", "argument")
    send_when_asleep(loop, signal.SIGUSR1)
    loop.run_forever()
    assert received == [("an", "argument")]
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_signal_that_came_before_the_loop_ran_is_not_lost(loop):
    received = []
    loop.add_signal_handler(signal.SIGUSR1, received.append, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR2, loop.stop)
    os.kill(os.getpid(), signal.SIGUSR2)
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    assert received == [1]


def test_several_signals_each_run_their_handler(run, loop):
    received = []

    async def main():
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, received.append, number)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        while len(received) < 2:
            await asyncio.sleep(0)

    run(main())
    assert sorted(received) == [signal.SIGUSR1, signal.SIGUSR2]


def test_handler_that_is_replaced_is_the_last_one(run, loop):
    received = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, received.append, "first")
        loop.add_signal_handler(signal.SIGUSR1, received.append, "second")
        os.kill(os.getpid(), signal.SIGUSR1)
        while not received:
            await asyncio.sleep(0)

    run(main())
    assert received == ["second"]


@pytest.mark.parametrize(
    ("number", "error"),
    [("TERM", TypeError), (0, ValueError), (10_000, ValueError), (signal.SIGKILL, RuntimeError)],
)
def test_bad_signal_number_is_refused(loop, number, error):
    with pytest.raises(error):
        loop.add_signal_handler(number, print)


def test_coroutine_as_a_handler_is_refused(loop):
    async def handler():
        pass

    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.add_signal_handler(signal.SIGUSR1, handler)


def test_handlers_are_for_the_main_thread(loop):
    errors = []

    def add():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except (RuntimeError, ValueError) as error:
            errors.append(type(error))

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert errors == [RuntimeError]


def test_close_removes_the_handlers(model):
    loop = headrace.new_event_loop(model)
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_close_in_another_thread_cannot_remove_the_handlers_and_closes_all_the_same(make_loop):
    loop = make_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    errors = []

    def close():
        try:
            loop.close()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert errors == ["signal only works in main thread of the main interpreter"]
    assert loop.is_closed()
    assert not is_open_fd(signal.set_wakeup_fd(-1))


def test_interrupt_of_a_sleeping_loop_is_keyboard_interrupt(loop):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    send_when_asleep(loop, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    # And the loop can be run again.
    assert loop.run_until_complete(asyncio.sleep(0, "again")) == "again"


def test_interrupt_under_run_cancels_the_main_task(model):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    async def main():
        send_when_asleep(asyncio.get_running_loop(), signal.SIGINT)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        headrace.run(main(), model=model)
    assert seen == ["cancelled"]


def test_plain_signal_handler_may_wake_the_sleeping_loop(loop):
    """A handler of signal.signal() runs between bytecodes; call_soon_threadsafe() is for it."""
    received = []

    def handler(number, frame):
        loop.call_soon_threadsafe(received.append, number)
        loop.call_soon_threadsafe(loop.stop)

    signal.signal(signal.SIGUSR1, handler)
    send_when_asleep(loop, signal.SIGUSR1)
    loop.run_forever()
    assert received == [signal.SIGUSR1]


def test_users_wakeup_descriptor_is_kept(headrace_loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        signal.set_wakeup_fd(near.fileno())
        try:
            assert headrace_loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
            signal.signal(signal.SIGUSR1, lambda number, frame: None)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert far.recv(100) == bytes([signal.SIGUSR1])
        finally:
            assert signal.set_wakeup_fd(-1) == near.fileno()


def test_users_child_handler_is_left_alone(headrace_loop):
    received = []
    signal.signal(signal.SIGCHLD, lambda number, frame: received.append(number))

    async def main():
        process = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
        while not received:
            await asyncio.sleep(0)
        os.waitpid(process, 0)

    headrace_loop.run_until_complete(asyncio.wait_for(main(), 20))
    assert received == [signal.SIGCHLD]


def test_loop_in_another_thread_does_not_touch_the_wakeup_descriptor(model):
    thread = threading.Thread(
        target=headrace.run, args=(asyncio.sleep(0),), kwargs={"model": model}
    )
    thread.start()
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1


def test_handler_removed_in_a_later_run_leaves_no_wakeup_descriptor(loop):
    async def add():
        loop.add_signal_handler(signal.SIGUSR1, print)

    async def remove():
        assert loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(add())
    loop.run_until_complete(remove())
    loop.close()
    assert signal.set_wakeup_fd(-1) == -1
