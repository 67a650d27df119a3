"""The server process: started on its own cores, looked at from outside, and always stopped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.lab.guard import Guard
from headrace.lab.stopping import STOPPING_SIGNALS, die_with_parent
from headrace.lab.usage import Usage, children, process_tree, usage

PR_SET_CHILD_SUBREAPER = 36
STOP_S = 3.0
LAST_BYTES = 4096
FIRST_BYTES = 65536
LAST_LINES_MAX = 3
LINE_CHARACTERS_MAX = 200
NOT_TEXT = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Cores:
    """Who runs where. ``shared`` says that the machine has one core for both."""

    load: int
    server: frozenset[int]
    shared: bool

    @staticmethod
    def choose() -> Cores:
        """The first allowed core for the load, the rest for the server."""
        allowed = sorted(os.sched_getaffinity(0))
        rest = frozenset(allowed[1:]) or frozenset(allowed)
        return Cores(load=allowed[0], server=rest, shared=len(allowed) == 1)

    def single_server(self) -> Cores:
        """The same with one core for the server: a service of one thread must not wander."""
        return Cores(self.load, frozenset([max(self.server)]), self.shared)


def adopt_orphans() -> None:
    """Grandchildren whose parent ends become ours, so that none can outlive the measurement."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


class ServerProcess:
    """One server under measurement, in its own process group and on its own cores."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        cores: Cores,
        *,
        talks: bool = True,
        alone: bool = True,
    ) -> None:
        self.command = list(command)
        self.alone = alone
        self.core_count = len(cores.server)
        self.guard = Guard()
        self.siblings = frozenset(children(os.getpid()))
        # Its last words are kept in a file: a pipe that nobody reads would block it.
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores.server)  # inherited from the first instruction on
        try:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else subprocess.DEVNULL,
                stderr=self.errors,
                preexec_fn=self._die_with_us,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            self.errors.close()
            self.guard.end()
            raise
        finally:
            os.sched_setaffinity(0, own)

    def __repr__(self) -> str:
        return f"<ServerProcess pid={self.pid} returncode={self.popen.returncode}>"

    @property
    def pid(self) -> int:
        return self.popen.pid

    def usage(self) -> Usage:
        return usage(self.pid, *self._orphans())

    def tree(self) -> list[int]:
        """Itself, all its descendants, and those whose parent ended: these are ours by then."""
        return process_tree(self.pid, *self._orphans())

    def last_words(self) -> str:
        """How it ended and the last line of its standard error, in one line."""
        status = self.popen.poll()
        last = (self.last_lines() or ["no message"])[-1]
        if status is None:
            return last
        if status < 0:
            return f"the server died of {signal.Signals(-status).name}: {last}"
        return f"the server ended with status {status}: {last}"

    def last_lines(self) -> list[str]:
        """The last lines of its standard error that are not empty, the newest at the end."""
        size = os.fstat(self.errors.fileno()).st_size
        return self._lines(max(0, size - LAST_BYTES), LAST_BYTES)[-LAST_LINES_MAX:]

    def first_line(self, start: str) -> str | None:
        """The first line of its standard error that begins so, if that came early."""
        lines = self._lines(0, FIRST_BYTES)
        return next((line for line in lines if line.startswith(start)), None)

    def stop(self) -> None:
        """Ends it and all its descendants: asked first, killed after three seconds."""
        tree = self.tree()
        self._signal(tree, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_S)
        tree += [pid for parent in tree for pid in process_tree(parent)]
        self._signal(tree, signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.errors.close()
        self._reap()
        self.guard.end()

    def _lines(self, start: int, size: int) -> list[str]:
        # pread, because the file's offset is shared: after a seek the server would write there.
        text = os.pread(self.errors.fileno(), size, start).decode(errors="replace")
        lines = [NOT_TEXT.sub("", line).strip() for line in text.split("\n")]
        return [line[:LINE_CHARACTERS_MAX] for line in lines if line]

    def _die_with_us(self) -> None:
        """Runs in the child before its program: not even a SIGKILL of ours leaves anything."""
        self.guard.watch_own_session()
        die_with_parent()

    def _signal(self, tree: Sequence[int], number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _orphans(self) -> list[int]:
        """The descendants that became ours when their parent ended, if we adopt orphans."""
        if not self.alone:
            return []
        return sorted(set(children(os.getpid())) - self.siblings - {self.pid})

    def _reap(self) -> None:
        """Ends and reaps the descendants that became ours."""
        for pid in self._orphans():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@contextlib.contextmanager
def server_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    cores: Cores,
    *,
    talks: bool = True,
    alone: bool = True,
) -> Iterator[ServerProcess]:
    """A server that is stopped whatever happens; neither its start nor its stop is interrupted.

    ``talks`` keeps its standard output for the caller to read; otherwise it goes nowhere.
    ``alone`` says that we start no other child before it ends: who becomes ours is of its tree.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
    try:
        server = ServerProcess(command, environment, cores, talks=talks, alone=alone)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield server
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING_SIGNALS)
            server.stop()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
