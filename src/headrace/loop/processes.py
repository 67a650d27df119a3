"""Subprocesses: asyncio's transport over ours of pipes, and how a child that has ended is reaped.

Each child is waited for by itself: its pidfd is a descriptor like any other, which every model can
watch.  Where pidfd_open(2) is missing or forbidden, a thread waits.  Nobody else is disturbed: no
handler for SIGCHLD, so that the program's own keep working; no waitpid(-1), which would take the
children of others; nothing that must run between fork and exec.

asyncio up to 3.13 has *child watchers* in its policy.  One that the program has set is a request,
and is met: FastChildWatcher, for example, reaps with waitpid(-1), and we would race with it.  The
kinds that asyncio makes by itself, a thread or a pidfd for each child, do what we do, and need not
be asked; who has made them cannot be told.  Where there is none, none is made: other policies
(uvloop's) have none at all, and Python from 3.14 on.
"""

import asyncio
import contextlib
import logging
import os
import signal as signals
import subprocess
import sys
import threading
import warnings
from asyncio import base_subprocess, unix_events
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("asyncio")

RETURNCODE_UNKNOWN = 255  # as asyncio says it
_stock: Any = unix_events
STOCK_GETTER = getattr(_stock._UnixDefaultEventLoopPolicy, "get_child_watcher", None)
EQUIVALENT_WATCHERS = (
    type(None),
    getattr(_stock, "ThreadedChildWatcher", None),
    getattr(_stock, "PidfdChildWatcher", None),
)


class SubprocessTransport(base_subprocess.BaseSubprocessTransport):
    """asyncio's transport of a subprocess.  It never reaps: that is the watching Child's part."""

    _proc: "subprocess.Popen[bytes] | None"

    def _start(
        self,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **kwargs: Any,
    ) -> None:
        # The child would inherit what the model has this thread block.
        loop: Any = self._loop
        loop._unbind()
        try:
            self._proc = subprocess.Popen(
                args,
                shell=shell,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                universal_newlines=False,
                bufsize=bufsize,
                **kwargs,
            )
        finally:
            loop._bind(False)

    def send_signal(self, signal: int) -> None:
        """To the child, and never to another process that has got its number since.

        Popen.send_signal() would reap a child that has just ended, and its status with it.
        """
        if self._proc is None:
            raise ProcessLookupError()
        if self._proc.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._proc.pid, signal)

    def terminate(self) -> None:
        self.send_signal(signals.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signals.SIGKILL)


class Child:
    """One process, from its start until it is reaped or the loop is closed."""

    def __init__(self, loop: "ProcessMethods", transport: SubprocessTransport) -> None:
        assert transport._proc is not None
        self._loop = loop
        self._transport = transport
        self._process = transport._proc
        self._pidfd: int | None = None

    def __repr__(self) -> str:
        waits = "a thread" if self._pidfd is None else f"pidfd={self._pidfd}"
        return f"<Child pid={self._process.pid} {waits}>"

    def watch(self) -> None:
        self._loop._children.add(self)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
            self._loop._add_reader(self._pidfd, self._ended)
        except (AttributeError, OSError):
            # Unknown to Python or the kernel, forbidden, or beyond what the model can watch.
            self._close_pidfd()
            self._watch_in_thread()

    def forget(self) -> None:
        """The loop does not wait any more; the process goes on."""
        self._loop._children.discard(self)
        if self._pidfd is not None:
            self._loop._remove_reader(self._pidfd)
            self._close_pidfd()

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _watch_in_thread(self) -> None:
        threading.Thread(
            target=wait_until_ended,
            args=(self._process.pid, self._loop, self._ended_in_thread),
            name=f"headrace-waitid-{self._process.pid}",
            daemon=True,
        ).start()

    def _ended_in_thread(self) -> None:
        if self in self._loop._children:
            self._ended()

    def _ended(self) -> None:
        self.forget()
        self._loop.call_soon(self._transport._process_exited, reap(self._process))


def wait_until_ended(pid: int, loop: Any, ended: Any) -> None:
    """In a thread: wait, and leave the status to the loop's thread.

    As long as nobody has taken it, the number is not another process's.
    """
    # If somebody else has reaped the child, the loop's thread will notice.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        loop.call_soon_threadsafe(ended)
    except RuntimeError:
        logger.warning("Loop %r that handles pid %r is closed", loop, pid)


def reap(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of *process*, which has ended."""
    returncode: int | None = process.returncode
    if returncode is not None:
        # Popen has reaped it, as when BaseSubprocessTransport.close() polls: the number may be
        # another child's.
        return returncode
    try:
        _, status = os.waitpid(process.pid, 0)
    except ChildProcessError:
        returncode = RETURNCODE_UNKNOWN
        logger.warning(
            "child process pid %d exit status already read: will report returncode %d",
            process.pid,
            returncode,
        )
    else:
        returncode = os.waitstatus_to_exitcode(status)
    # Before anybody else can run: from now on the number may be another process's.
    process.returncode = returncode
    return returncode


def chosen_child_watcher() -> Any:
    """The child watcher that the program has set in asyncio's policy; None: it is our affair."""
    policy: Any = asyncio.get_event_loop_policy()
    getter = getattr(type(policy), "get_child_watcher", None)
    if getter is None:
        return None
    # Where there is none, asking asyncio's own policy would make one.
    watcher = policy._watcher if getter is STOCK_GETTER else ask_for_child_watcher(policy)
    return None if type(watcher) in EQUIVALENT_WATCHERS else watcher


def ask_for_child_watcher(policy: Any) -> Any:
    with warnings.catch_warnings():
        # Deprecated in Python 3.12: asyncio does not hold it against the program here either.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return policy.get_child_watcher()
        except NotImplementedError:
            return None


def is_active(watcher: Any, entered: Any) -> bool:
    """Ask whom asyncio asks: they are one and the same, except where a program means otherwise."""
    answer: bool = (watcher if sys.version_info >= (3, 12) else entered).is_active()
    return answer


class ProcessMethods(asyncio.AbstractEventLoop):
    """What an event loop needs besides BaseEventLoop's subprocess_shell() and subprocess_exec()."""

    _children: set[Child]
    _add_reader: Callable[..., Any]
    _remove_reader: Callable[[int], bool]

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> SubprocessTransport:
        watcher = chosen_child_watcher()
        # Entered until the transport stands: that keeps some watchers from reaping too early.
        with contextlib.nullcontext() if watcher is None else watcher as entered:
            if watcher is not None and not is_active(watcher, entered):
                # Before there is a process that nobody would reap.
                raise RuntimeError(
                    "asyncio.get_child_watcher() is not activated, "
                    "subprocess support is not installed."
                )
            waiter = self.create_future()
            transport = SubprocessTransport(
                self,
                protocol,
                args,
                shell,
                stdin,
                stdout,
                stderr,
                bufsize,
                waiter=waiter,
                extra=extra,
                **kwargs,
            )
            if watcher is None:
                Child(self, transport).watch()
            else:
                watcher.add_child_handler(transport.get_pid(), self._child_ended, transport)
            try:
                await waiter
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
        return transport

    def _child_ended(self, pid: int, returncode: int, transport: SubprocessTransport) -> None:
        """A child watcher's callback: it may come in any thread."""
        self.call_soon_threadsafe(transport._process_exited, returncode)

    def _forget_children(self) -> None:
        for child in list(self._children):
            child.forget()
