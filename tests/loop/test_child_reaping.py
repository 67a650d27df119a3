"""Who waits for children and reaps them, in every way there is, and who is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import threading

import pytest

import headrace
from headrace.loop import processes

PIPE = asyncio.subprocess.PIPE
LARGE = os.urandom(1 << 20)
WAIT_S_MAX = 20.0


@pytest.fixture(params=["pidfd", "thread", "absent"])
def way(request, monkeypatch):
    """How a child is waited for: pidfd_open works, is forbidden, or is unknown to Python."""

    def forbidden(pid, flags=0):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    is_oracle = (
        "loop_name" in request.fixturenames and request.getfixturevalue("loop_name") == "asyncio"
    )
    if is_oracle and request.param != "pidfd":
        pytest.skip("asyncio chooses its way once, for the whole process")
    if request.param == "thread":
        monkeypatch.setattr(os, "pidfd_open", forbidden)
    elif request.param == "absent":
        monkeypatch.delattr(os, "pidfd_open")
    return request.param


def is_gone(pid):
    """Reaped, and not only ended?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def forget(held):
    held.clear()
    gc.collect()


# Ends.


@pytest.mark.parametrize("code", [0, 1, 255])
def test_exit_code_is_told(headrace_run, way, code):
    async def main():
        process = await asyncio.create_subprocess_shell(f"exit {code}")
        assert await process.wait() == code
        assert process.returncode == code
        assert is_gone(process.pid)

    headrace_run(main())


def test_cancelled_start_kills_and_reaps(run, loop):
    pids = []
    popen = subprocess.Popen

    def remember(*args, **kwargs):
        process = popen(*args, **kwargs)
        pids.append(process.pid)
        return process

    async def main():
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec("sleep", "100", stdin=PIPE, stdout=PIPE)
        )
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", remember)
        run(main())
    assert all(is_gone(pid) for pid in pids)


def test_closed_transport_kills_its_child(run, loop, way):
    async def main():
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "100")
        transport.close()
        assert await transport._wait() == -signal.SIGKILL
        assert is_gone(transport.get_pid())

    run(main())


def test_exit_code_survives_that_the_program_has_waited(headrace_run, headrace_loop, way):
    """Popen.wait() and poll() reap; stock asyncio would say 255 then."""

    async def main():
        transport, _ = await headrace_loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "100", stdin=None, stdout=None, stderr=None
        )
        transport.kill()
        transport.get_extra_info("subprocess").wait(WAIT_S_MAX)
        assert await transport._wait() == -signal.SIGKILL
        transport.close()

    headrace_run(main())


def test_loop_closed_with_children_alive_leaves_no_descriptor(make_loop, way):
    before = len(os.listdir("/proc/self/fd"))
    loop = make_loop()

    async def main():
        return await asyncio.create_subprocess_exec("sleep", "100")

    held = [loop.run_until_complete(main())]
    pid = held[0].pid
    loop.close()
    os.kill(pid, signal.SIGKILL)
    # A thread of stock asyncio's watcher, or ours, has the last word.
    for thread in threading.enumerate():
        if "waitpid" in thread.name or "waitid" in thread.name:
            thread.join(WAIT_S_MAX)
    with pytest.warns(ResourceWarning, match="unclosed transport|still running"):
        forget(held)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    if isinstance(loop, headrace.EventLoop):
        assert len(os.listdir("/proc/self/fd")) == before


# Who reaps.


def test_child_that_has_been_waited_for_is_not_waited_for_by_its_number_again():
    """The number may be another child's by now, who would be waited for and lose its status."""
    with subprocess.Popen(["sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE) as other:
        reaped = subprocess.Popen(["true"])
        reaped.wait(WAIT_S_MAX)
        reaped.pid = other.pid
        other.stdin.close()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert processes.reap(reaped) == 0
        assert other.wait(WAIT_S_MAX) == 3


def test_child_reaped_by_somebody_else_ends_with_255(headrace_run, caplog, way):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.kill()
        os.waitpid(process.pid, 0)
        assert await process.wait() == 255

    with caplog.at_level(logging.WARNING, "asyncio"):
        headrace_run(main())
    assert "exit status already read" in caplog.text


def test_ignored_sigchld_costs_the_exit_code_only(headrace_run, caplog):
    async def main():
        process = await asyncio.create_subprocess_shell("exit 5")
        assert await process.wait() == 255

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        headrace_run(main())
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("kind", ["signal", "loop"])
def test_programs_sigchld_handler_keeps_working(run, loop, kind):
    called = threading.Event()

    async def main():
        if kind == "loop":
            loop.add_signal_handler(signal.SIGCHLD, called.set)
        process = await asyncio.create_subprocess_shell("exit 4")
        assert await process.wait() == 4
        while not called.is_set():
            await asyncio.sleep(0.001)

    before = signal.signal(signal.SIGCHLD, lambda *_: called.set())
    try:
        run(main())
    finally:
        if kind == "loop":
            loop.remove_signal_handler(signal.SIGCHLD)
        signal.signal(signal.SIGCHLD, before)


def test_children_of_others_are_left_to_them(run):
    async def main():
        other = subprocess.Popen(["sh", "-c", "exit 9"])
        process = await asyncio.create_subprocess_shell("exit 4")
        assert await process.wait() == 4
        assert other.wait(WAIT_S_MAX) == 9

    run(main())


def test_loop_of_another_thread_has_children_too(make_loop, way):
    answers = []

    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        answers.append(await process.communicate(LARGE))
        answers.append(process.returncode)

    def run_in_thread():
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run_in_thread)
    thread.start()
    thread.join(WAIT_S_MAX)
    assert answers == [(LARGE, None), 0]


# Child watchers.


@pytest.fixture
def policy():
    """asyncio's policy, with no child watcher before and after."""
    if not hasattr(asyncio.AbstractEventLoopPolicy, "get_child_watcher"):
        pytest.skip("Python 3.14 has no child watchers")
    policy = asyncio.DefaultEventLoopPolicy()
    asyncio.set_event_loop_policy(policy)
    yield policy
    asyncio.set_event_loop_policy(None)


class Watcher(asyncio.AbstractChildWatcher if sys.version_info < (3, 12) else object):
    """Waits in a thread, and writes down for whom."""

    def __init__(self, active=True):
        self.active = active
        self.pids = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def is_active(self):
        return self.active

    def close(self):
        pass

    def add_child_handler(self, pid, callback, *args):
        self.pids.append(pid)
        threading.Thread(target=lambda: callback(pid, os.waitpid(pid, 0)[1] >> 8, *args)).start()


def test_child_watcher_of_the_program_is_asked(headrace_run, policy):
    watcher = policy._watcher = Watcher()

    async def main():
        process = await asyncio.create_subprocess_shell("exit 6")
        assert await process.wait() == 6
        assert watcher.pids == [process.pid]

    headrace_run(main())


def test_child_watcher_that_is_not_active_starts_no_process(headrace_run, policy):
    watcher = policy._watcher = Watcher(active=False)

    async def main():
        with pytest.raises(RuntimeError, match=r"get_child_watcher\(\) is not activated"):
            await asyncio.create_subprocess_shell("exit 6")
        assert watcher.pids == []

    headrace_run(main())


def test_nobodys_child_watcher_is_not_made(headrace_run, policy):
    async def main():
        assert await (await asyncio.create_subprocess_shell("exit 6")).wait() == 6

    headrace_run(main())
    assert policy._watcher is None


def test_child_watcher_that_does_what_we_do_is_not_needed(headrace_run, policy):
    policy._watcher = asyncio.ThreadedChildWatcher()

    async def main():
        before = threading.active_count()
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        assert threading.active_count() == before
        await process.communicate(b"")

    headrace_run(main())


def test_policy_without_child_watchers_will_do(headrace_run, policy):
    class Plain(asyncio.AbstractEventLoopPolicy):
        pass

    asyncio.set_event_loop_policy(Plain())
    assert processes.chosen_child_watcher() is None
    asyncio.set_event_loop_policy(policy)


# What the kernel or the user interrupts.


def test_pidfd_forbidden_by_seccomp_leaves_subprocesses_working(run_program, model):
    answer = run_program("without_pidfd.py", model)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "EPERM 5 True\n"


def test_keyboard_interrupt_reaches_program_and_child(run_program, loop_name):
    answer = run_program("interrupted_child.py", loop_name)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"interrupted {-signal.SIGINT}\n"
