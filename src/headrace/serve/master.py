"""The process that holds the ports: opens them, gives up its privileges, forks, and replaces.

Decisions.

* Sockets are bound by the master, one for each worker and address (SO_REUSEPORT), and kept by it:
  when a worker dies, the connections that wait in its queue are its successor's.
* Workers are forked before any loop exists.  A ring or an epoll descriptor that is shared across a
  fork breaks both sides.
* Signals are blocked in the master and taken by sigwait(): no handler runs between two lines.
  Those that it sends its workers are blocked, too, until a worker has its handlers: none is lost.
* A worker that hangs is killed, and replaced: see `watching.py`.
* A worker dies with its master (PR_SET_PDEATHSIG): nobody serves from a server that is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import math
import os
import pwd
import resource
import signal
import socket
import sys
import time

import headrace
from headrace.serve import worker
from headrace.serve.board import Board
from headrace.serve.cores import usable_cores
from headrace.serve.meters import Meter, Meters
from headrace.serve.settings import WORKERS_MAX, Address, Settings
from headrace.serve.site import Site
from headrace.serve.watching import LISTEN_S, Watch
from headrace.serve.worker import Listening

__all__ = ["serve"]

SIGNALS = frozenset([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD])
BLOCKED = SIGNALS | {worker.DRAIN, worker.ABORT}
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
# A worker that dies this soon would only die again: its successor waits, longer each time.
LIFE_S_MIN = 5.0
# Not for long: the connections that came to its sockets wait for it.
RESTART_DELAY_S_MIN, RESTART_DELAY_S_MAX = 0.5, 5.0
# What workers have beyond drain_timeout_s, to come to an end.
END_MARGIN_S = 10.0
# What a process has anyway.
DESCRIPTORS_SPARE = 128
EXIT_CANNOT_SERVE = 1
# Python imports them when they are first used.
ENCODINGS = ("ascii", "idna", "latin_1", "utf_8")


def serve(settings: Settings) -> int:
    """Serve until a signal ends it; answers the exit code.

    0: it was told to end, and has.  1: a port cannot be had, or the like; one line on standard
    error says which and why.

    Raises:
        BadSettings: a file that the settings name is missing or wrong.
        headrace.ModelUnavailableError: the I/O model cannot be had here.
    """
    raise_descriptor_limit()
    preload(settings)
    count = workers_needed(settings)
    meters = Meters(count)
    site = Site(settings, meters)
    try:
        sockets = open_sockets(settings, count)
        become(settings.run_as)
        check_folder(settings)
    except CannotServe as error:
        print(f"headrace serve: {error}", file=sys.stderr)
        site.close()
        return EXIT_CANNOT_SERVE
    os.umask(settings.umask)
    # What is there now is garbage of nobody, and its pages stay shared with the workers.
    gc.collect()
    gc.freeze()
    return Master(site, sockets).run()


class CannotServe(Exception):
    """One line that says why."""


class Child:
    """A worker: its process, and when it began; or when its successor may."""

    __slots__ = ("began_s", "delay_s", "killed", "pid", "restart_s")

    def __init__(self) -> None:
        self.pid = 0
        self.began_s = 0.0
        self.delay_s = 0.0
        self.restart_s = 0.0
        self.killed = False

    def postpone(self, delay_s_min: float = 0.0) -> None:
        """The successor waits, and the one after it longer."""
        delay_s = max(self.delay_s, delay_s_min)
        self.restart_s = time.monotonic() + delay_s
        self.delay_s = min(max(delay_s * 2, RESTART_DELAY_S_MIN), RESTART_DELAY_S_MAX)


class Master:
    """Workers, one for each row of sockets."""

    def __init__(self, site: Site, sockets: list[list[Listening]]) -> None:
        self.site = site
        self.sockets = sockets
        self.children = [Child() for _ in sockets]
        self.board = Board(len(sockets))
        self.watch = Watch(self.board)
        self.addresses = tuple(
            f"{protocol}://{Address(*sock.getsockname()[:2])}" for protocol, sock in sockets[0]
        )
        self.ending = False
        self.deadline_s = math.inf  # of the workers' end

    def run(self) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        try:
            self.site.log_missing_homes()
            self.site.log_read_only_homes()
            for address in self.addresses:
                self.site.log.event("listening", address=address)
            for number in range(len(self.children)):
                self.fork(number)
            wanted = workers_for_clients(self.site.settings)
            if wanted > len(self.children):
                self.site.log.event(
                    "few_descriptors",
                    workers=len(self.children),
                    workers_wanted=wanted,
                    clients_max=self.site.settings.limits.clients_max,
                    clients_possible=self.site.settings.limits.clients_max
                    * len(self.children)
                    // wanted,
                )
            if os.geteuid() == 0:
                self.site.log.event("runs_as_root", hint="--run-as USER")
            self.site.log.event("ready", workers=self.running(), pid=os.getpid())
            while self.running() or not self.ending:
                self.wait_signal()
        finally:
            self.end()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.site.log.event("ended")
        self.site.close()
        return 0

    def running(self) -> int:
        """How many workers there are."""
        return sum(1 for child in self.children if child.pid)

    def wait_signal(self) -> None:
        """One signal, or the time at which a worker is to be replaced, or looked after."""
        due = [] if self.ending else [each.restart_s for each in self.children if not each.pid]
        pause_s = min([LISTEN_S, *(each - time.monotonic() for each in due)])
        got = signal.sigtimedwait(SIGNALS, max(0.0, pause_s))
        number = 0 if got is None else got.si_signo
        if number in (signal.SIGTERM, signal.SIGINT):
            if not self.ending:
                seconds = self.site.settings.limits.drain_timeout_s
                self.site.log.event("draining", signal=signal.Signals(number).name, seconds=seconds)
            self.begin_end()
        elif number == signal.SIGHUP:
            self.site.reload()
            self.tell(signal.SIGHUP)
        self.reap()
        self.kill_hung()
        self.replace()

    def begin_end(self) -> None:
        """The first signal: workers drain; the second: they end at once."""
        self.tell(worker.ABORT if self.ending else worker.DRAIN)
        grace_s = 0.0 if self.ending else self.site.settings.limits.drain_timeout_s
        self.deadline_s = min(self.deadline_s, time.monotonic() + grace_s + END_MARGIN_S)
        self.ending = True
        # As long as one descriptor of a socket is open it listens, and nobody would accept.
        self.close_sockets()

    def kill_hung(self) -> None:
        """A worker that is silent, or does not end, would never be of use again."""
        now_s = time.monotonic()
        self.watch.listen(now_s)
        silence_s_max = self.site.settings.limits.worker_silence_timeout_s or math.inf
        for number, child in enumerate(self.children):
            if not child.pid or child.killed:
                continue
            silence_s = self.watch.silence_s(number)
            if silence_s > silence_s_max or now_s > self.deadline_s:
                self.site.log.event("worker_hung", pid=child.pid, silence_s=round(silence_s, 1))
                os.kill(child.pid, signal.SIGKILL)
                child.killed = True

    def tell(self, number: signal.Signals) -> None:
        for child in self.children:
            if child.pid:
                os.kill(child.pid, number)

    def reap(self) -> None:
        """Take note of the workers that have died."""
        for number, child in enumerate(self.children):
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            lived_s = time.monotonic() - child.began_s
            counted = self.site.meters.of_worker(number)
            self.site.meters.end(number)
            self.board.clear(number)
            if not self.ending:
                self.site.log.event(
                    "worker_died",
                    pid=pid,
                    why=describe(status),
                    lived_s=round(lived_s, 1),
                    clients=counted[Meter.CLIENTS],
                    transfers=counted[Meter.SENDING] + counted[Meter.RECEIVING],
                )
            child.pid = 0
            if lived_s >= LIFE_S_MIN:
                child.delay_s = 0.0
            child.postpone()

    def replace(self) -> None:
        if self.ending:
            return
        for number, child in enumerate(self.children):
            if not child.pid and child.restart_s <= time.monotonic():
                is_first = not child.began_s
                if self.fork(number) and not is_first:
                    self.board.count_restart()
                    self.site.log.event("worker_replaced", pid=child.pid)

    def fork(self, number: int) -> bool:
        """Begin a worker; False: there is no room for a process, it is tried again later."""
        child = self.children[number]
        master = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:  # RLIMIT_NPROC, a cgroup's pids.max, memory
            self.site.log.event("fork_failed", error=error.strerror, worker=number)
            child.postpone(RESTART_DELAY_S_MIN)
            return False
        if pid:
            child.pid = pid
            child.began_s = time.monotonic()
            child.killed = False
            self.watch.begin(number, child.began_s)
            return True
        code = 1
        try:
            self.be_worker(number, master)
            code = 0
        except BaseException as error:
            self.site.log.event("worker_failed", error=repr(error))
            if not isinstance(error, (KeyboardInterrupt, SystemExit)):
                sys.excepthook(type(error), error, error.__traceback__)
        finally:
            # Nothing of the master's is to run here: no finally, no exit handler.
            os._exit(code)

    def be_worker(self, number: int, master: int) -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != master:  # it died before that counted
            return
        for at, listening in enumerate(self.sockets):
            if at != number:
                for _, sock in listening:
                    sock.close()
        self.site.meters.begin(number, time.time())
        worker.run(
            self.site,
            self.sockets[number],
            board=self.board,
            number=number,
            # One at the start; and the successor of one that was killed in the midst of uploads.
            tidy=number == 0 or self.children[number].began_s > 0,
            addresses=self.addresses,
        )

    def end(self) -> None:
        """Whatever happens to the master: no worker is left behind."""
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                child.pid = 0
        self.close_sockets()

    def close_sockets(self) -> None:
        for listening in self.sockets:
            for _, sock in listening:
                sock.close()


def describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # Most real-time signals have no name.
        named = number in set(signal.Signals)
        return signal.Signals(number).name if named else f"signal {number}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def preload(settings: Settings) -> None:
    """Import all that workers need, once: they share it, and may not be able to read it later.

    After run-as the interpreter's own files may be out of reach, in /root for example.
    """
    for name in ("concurrent.futures.thread", *map("encodings.".__add__, ENCODINGS)):
        importlib.import_module(name)
    if settings.http or settings.https or settings.metrics:
        importlib.import_module("headrace.serve.http.session")
    # The modules of the I/O model, and whether it can be had.  The loop is closed before the fork.
    headrace.new_event_loop(settings.model).close()


def raise_descriptor_limit() -> None:
    """As many descriptors as this process may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # An infinite one cannot be had everywhere: then the soft one stays.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def workers_needed(settings: Settings) -> int:
    """As many as were asked for; else one a core, and enough for clients_max' descriptors."""
    if settings.workers is not None:
        return settings.workers
    return min(max(usable_cores(), workers_for_clients(settings)), WORKERS_MAX)


def workers_for_clients(settings: Settings) -> int:
    """So many that clients_max have their descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = max(1, (soft - DESCRIPTORS_SPARE) // descriptors_per_client(settings))
    return 1 if soft < 0 else -(-settings.limits.clients_max // each)


def descriptors_per_client(settings: Settings) -> int:
    """Control connection, data connection, file; an upload's folder; a user's home."""
    uploads = settings.anonymous == "rw" or settings.users is not None
    return 3 + int(uploads) + int(settings.users is not None)


def open_sockets(settings: Settings, workers: int) -> list[list[Listening]]:
    """For each worker a socket at each address; raises CannotServe."""
    rows: list[list[Listening]] = [[] for _ in range(workers)]
    try:
        for protocol in ("ftp", "ftps", "http", "https", "metrics"):
            where: Address | None = getattr(settings, protocol)
            if where is None:
                continue
            family, resolved = resolve(where)
            if where.port:
                refuse_taken(family, resolved, where)
            for row in rows:
                sock = listen(family, resolved, where, settings.limits.backlog_max)
                # Port 0: the kernel has chosen one, and all workers share it.
                resolved = sock.getsockname()
                row.append(Listening(protocol, sock))
    except BaseException:
        for row in rows:
            for _, sock in row:
                sock.close()
        raise
    return rows


def resolve(where: Address) -> tuple[int, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(
            where.host or None, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise CannotServe(f"{where}: {error.strerror}") from None
    return found[0][0], found[0][4]


def refuse_taken(family: int, address: tuple[object, ...], where: Address) -> None:
    """Raises CannotServe where another program listens, even if it shares its port as we do.

    With SO_REUSEPORT two servers of one user would listen, and each have half of the clients.
    """
    bound(family, address, where, shared=False).close()


def listen(family: int, address: tuple[object, ...], where: Address, backlog: int) -> socket.socket:
    """From now on clients are let in, by whichever worker begins first."""
    sock = bound(family, address, where, shared=True)
    sock.listen(backlog)
    return sock


def bound(
    family: int, address: tuple[object, ...], where: Address, *, shared: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 clients would have mapped addresses: a second listener is clearer.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        hint = ""
        if error.errno == errno.EACCES:
            hint = "; ports below 1024 need root, or CAP_NET_BIND_SERVICE"
        raise CannotServe(f"cannot listen at {where}: {error.strerror}{hint}") from None
    return sock


def check_folder(settings: Settings) -> None:
    """As the user that serves it.  Raises CannotServe."""
    if not os.access(settings.directory, os.R_OK | os.X_OK, effective_ids=True):
        who = pwd.getpwuid(os.geteuid()).pw_name
        raise CannotServe(f"{settings.directory}: {who} may not read it")


def prctl(option: int, value: int) -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become(name: str | None) -> None:
    """Another user for good: groups first, for afterwards it is not allowed any more."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if name is None:
        return
    entry = pwd.getpwnam(name)
    try:
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise CannotServe(f"cannot become {name}: {error.strerror}") from None
