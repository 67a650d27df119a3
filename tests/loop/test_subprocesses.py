"""Subprocesses: their ends, their pipes, who reaps them, and who is left alone."""

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


def python(code, **options):
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, **options)


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


@pytest.mark.parametrize(
    ("method", "number"), [("kill", signal.SIGKILL), ("terminate", signal.SIGTERM)]
)
def test_signal_that_ended_the_child_is_told(run, method, number):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        assert process.returncode is None
        getattr(process, method)()
        assert await process.wait() == -number
        # Too late, and no other process's harm.
        with pytest.raises(ProcessLookupError):
            getattr(process, method)()

    run(main())


def test_any_signal_can_be_sent(run):
    async def main():
        process = await asyncio.create_subprocess_shell(
            "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done", stdout=PIPE
        )
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == 7

    run(main())


def test_fifty_children_at_once_keep_their_exit_codes(run):
    async def main():
        started = await asyncio.gather(
            *(asyncio.create_subprocess_shell(f"exit {code}") for code in range(50))
        )
        assert await asyncio.gather(*(one.wait() for one in started)) == list(range(50))

    run(main())


def test_child_that_cannot_be_started_leaves_nothing(run):
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE)

    run(main())


def test_transport_says_what_it_is(run, loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "cat", stdout=PIPE, stdin=PIPE, stderr=None
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_protocol() is protocol
        assert transport.get_pid() == transport.get_extra_info("subprocess").pid
        assert transport.get_returncode() is None
        assert f"pid={transport.get_pid()} running stdin=<" in repr(transport)
        assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
        assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
        assert transport.get_pipe_transport(2) is None
        transport.get_pipe_transport(0).close()
        assert await transport._wait() == 0
        assert transport.get_returncode() == 0
        transport.close()
        assert transport.is_closing()

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
        ({"bufsize": 1}, "bufsize must be 0"),
    ],
)
def test_text_is_refused(run, loop, options, message):
    async def main():
        with pytest.raises(ValueError, match=f"^{message}$"):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **options)
        with pytest.raises(ValueError, match=f"^{message}$"):
            await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", **options)

    run(main())


# Pipes.


def test_communicate_moves_a_mebibyte_both_ways(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert await process.communicate(LARGE) == (LARGE, None)
        assert process.returncode == 0

    run(main())


def test_both_outputs_stay_apart(run):
    async def main():
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2", stdout=PIPE, stderr=PIPE
        )
        assert await process.communicate() == (b"out\n", b"err\n")

    run(main())


def test_child_that_closes_its_stdin_early_ends_the_pipe_not_the_child(run, loop):
    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self):
            self.lost = loop.create_future()
            self.out = loop.create_future()

        def pipe_connection_lost(self, fd, error):
            if fd == 0:
                self.lost.set_result(error)

        def pipe_data_received(self, fd, data):
            self.out.set_result(data)

    async def main():
        transport, protocol = await loop.subprocess_shell(
            Protocol, "exec <&-; echo closed; sleep 100", stderr=None
        )
        assert await protocol.out == b"closed\n"
        assert await protocol.lost is None
        assert transport.get_returncode() is None
        transport.terminate()
        # The sleeping grandchild holds the output: it ends with the transport.
        transport.get_pipe_transport(1).close()
        await transport._wait()
        transport.close()

    run(main())


def test_communicate_ignores_a_child_that_does_not_read(run):
    async def main():
        process = await asyncio.create_subprocess_exec("true", stdin=PIPE)
        await process.communicate(LARGE)
        assert process.returncode == 0

    run(main())


def test_output_is_read_to_its_end_after_the_child_has_ended(run):
    async def main():
        process = await python("print('x' * 50_000)", stdout=PIPE)
        while process.returncode is None:
            await asyncio.sleep(0.001)
        assert len(await process.stdout.read()) == 50_001
        await process.wait()

    run(main())


def test_grandchild_that_holds_the_output_is_waited_for(run, loop):
    """The child has ended; the end of its output comes when the last who has it ends."""

    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self):
            self.events = []
            self.exited = loop.create_future()
            self.lost = loop.create_future()

        def pipe_data_received(self, fd, data):
            self.events.append(data)

        def pipe_connection_lost(self, fd, error):
            self.events.append("pipe lost")

        def process_exited(self):
            self.exited.set_result(None)

        def connection_lost(self, error):
            self.lost.set_result(error)

    async def main():
        reader, writer = os.pipe()
        transport, protocol = await loop.subprocess_shell(
            Protocol,
            "exec 3<&0; (read line <&3; echo $line) & exit 3",
            stdin=reader,
            stderr=None,
        )
        await protocol.exited
        assert transport.get_returncode() == 3
        assert protocol.events == []
        # Nobody's harm: the child's number may be another process's by now.
        transport.kill()
        os.write(writer, b"late\n")
        await protocol.lost
        assert protocol.events == [b"late\n", "pipe lost"]
        transport.close()
        os.close(reader)
        os.close(writer)

    run(main())


# Options, all of them Popen's.


def test_options_reach_the_child(run, tmp_path):
    reader, writer = os.pipe()

    async def main():
        process = await python(
            "import os; os.write(int(os.environ['OUT']), repr("
            "(os.getcwd(), os.getsid(0) == os.getpid(), os.environ.get('MARK'))).encode())",
            cwd=tmp_path,
            env={**os.environ, "OUT": str(writer), "MARK": "mine"},
            pass_fds=[writer],
            start_new_session=True,
        )
        assert await process.wait() == 0

    try:
        run(main())
        expected = (os.path.realpath(tmp_path), True, "mine")
        assert os.read(reader, 1000).decode() == repr(expected)
    finally:
        os.close(reader)
        os.close(writer)


def test_process_group_reaches_the_child(run):
    async def main():
        process = await python(
            "import os; print(os.getpgid(0) == os.getpid())", stdout=PIPE, process_group=0
        )
        assert await process.communicate() == (b"True\n", None)

    run(main())


def test_preexec_fn_runs_in_the_child_and_may_fork(run):
    """Python runs there, after fork: the loop's ring or epoll instance is the parent's still."""
    reader, writer = os.pipe()

    def fork_and_tell():
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"child ")
            os._exit(0)
        os.waitpid(pid, 0)
        os.write(writer, b"parent")

    async def main():
        process = await asyncio.create_subprocess_exec("true", preexec_fn=fork_and_tell)
        assert await process.wait() == 0
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert await process.communicate(b"the loop works") == (b"the loop works", None)

    try:
        run(main())
        assert os.read(reader, 100) == b"child parent"
    finally:
        os.close(reader)
        os.close(writer)


# Cancelling and closing.


def test_cancelled_communicate_leaves_the_child_running(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        task = asyncio.create_task(process.communicate())
        process.stdin.write(b"before ")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert process.returncode is None
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    run(main())


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
