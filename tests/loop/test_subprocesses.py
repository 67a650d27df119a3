"""Subprocesses: their ends, their pipes, their options, and what is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

PIPE = asyncio.subprocess.PIPE
LARGE = os.urandom(1 << 20)


def python(code, **options):
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, **options)


# Ends.


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
