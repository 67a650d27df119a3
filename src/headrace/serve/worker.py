"""One process of the server: a loop, the listeners, the sessions, and how it ends.

What is too slow for a loop (scrypt, a digest of a file, a folder of ten thousand names) runs in a
few threads (`Pool`: for files, for passwords, for digests), with a bound on how many jobs wait for
one: beyond it the client is told to come back.

How it ends.  DRAIN: the listeners close, sessions without a transfer are told 421, running
transfers go on for `drain_timeout_s`; ABORT ends them at once.  Both come from the master.  SIGTERM
and SIGINT do nothing here: where they reach the whole group of processes (Ctrl-C, systemd) the
master has its own, and each of them would be counted twice.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import headrace
from headrace.serve.board import Board
from headrace.serve.ftp.core import Setup
from headrace.serve.ftp.ports import Ports
from headrace.serve.ftp.session import Session as FtpSession
from headrace.serve.limits import Limits
from headrace.serve.meters import Meter
from headrace.serve.site import Site
from headrace.serve.status import REPORT_S, Gatherer, Reporter
from headrace.serve.sweeper import Sweepable, Sweeper
from headrace.serve.threads import Pool

if TYPE_CHECKING:
    from headrace.serve.ftp.control import Control
    from headrace.serve.ftp.lingering import Lingering
    from headrace.serve.ftp.transfer import Transfer

__all__ = ["ABORT", "DRAIN", "Listening", "Worker", "run"]

# What the master tells its workers, besides SIGHUP.
DRAIN, ABORT = signal.SIGUSR1, signal.SIGUSR2

# What one recv() of an upload may bring; more does not pay.
RECEIVE_BUFFER_BYTES = 256 * 1024
# Digests are no more than a convenience, and take a whole core each.
DIGEST_THREADS_MAX = 2
# How often it is looked whether the last session has ended, while the worker drains.
DRAIN_LOOK_S = 0.05

Result = TypeVar("Result")


class Listening(NamedTuple):
    """A socket that listens, and what is spoken there: ftp, ftps, http, https or metrics."""

    protocol: str
    sock: socket.socket


class Worker:
    """What the sessions of one process share."""

    def __init__(
        self,
        site: Site,
        loop: asyncio.AbstractEventLoop,
        *,
        board: Board | None = None,
        number: int = 0,
        addresses: tuple[str, ...] = (),
    ) -> None:
        """*board*, *number*, *addresses*: for the status; without, this worker is the only one."""
        self.site = site
        self.loop = loop
        self.log = site.log
        self.commands = 0  # answered; the meters have it each round
        self.sessions: set[Control] = set()
        self.http_sessions: set[Any] = set()
        self.transfers: dict[Transfer, None] = {}  # the oldest first
        self.lingering: dict[Lingering, None] = {}  # the oldest first
        self.listings_bytes = 0  # made, and not yet taken
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.ftp_setup = setup_of(site)
        self.passive_ports = passive_ports_of(site)
        self.draining = False
        # Apart, so that none of them waits for another kind: a password for digests, for one.
        self.files = Pool(self.limits.threads_max)
        self.passwords = Pool(self.limits.threads_max)
        self.digests = Pool(min(self.limits.threads_max, DIGEST_THREADS_MAX))
        self.hashing: set[str] = set()  # the addresses (gate.address_key) that have a digest made
        self._turns: collections.deque[FtpSession] = collections.deque()
        self._servers: list[asyncio.AbstractServer] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeper = Sweeper(loop, self._members, self._shortest_limit_s)
        self._board = board = board or Board()
        self._number = number
        self._reporter = Reporter(self, board, number)
        self._report_timer: asyncio.TimerHandle | None = None
        gatherer = Gatherer(site, board, addresses)
        site.status, site.metrics = gatherer.status, gatherer.metrics

    def __repr__(self) -> str:
        return (
            f"<Worker sessions={len(self.sessions)} http={len(self.http_sessions)}"
            f" transfers={len(self.transfers)} lingering={len(self.lingering)}"
            f" files={self.files} passwords={self.passwords} digests={self.digests}"
            f" draining={self.draining}>"
        )

    @property
    def limits(self) -> Limits:
        return self.site.settings.limits

    # Beginning and end.

    async def start(self, listening: Iterable[Listening]) -> None:
        """Accept on these sockets, which are the worker's from now on."""
        limits = self.limits
        for protocol, sock in listening:
            if protocol in ("ftp", "ftps"):
                # Some clients send all of ABOR as urgent data, as RFC 959 section 4.1.3 can be
                # read; out of band its last byte would be lost.  What is accepted inherits this.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            # TLS, where it is spoken, is the sessions' affair: the gate comes before it.
            server = await self.loop.create_server(
                self._factory(protocol), sock=sock, backlog=limits.backlog_max
            )
            self._servers.append(server)
        self._sweeper.start()
        self._report()

    def _factory(self, protocol: str) -> Callable[[], asyncio.Protocol]:
        if protocol in ("ftp", "ftps"):
            return functools.partial(FtpSession, self, implicit_tls=protocol == "ftps")
        from headrace.serve.http.session import Session as HttpSession  # needs httptools

        return functools.partial(
            HttpSession,
            self.site,
            registry=self.http_sessions,
            executor=self.files.executor,
            status_only=protocol == "metrics",
            implicit_tls=protocol == "https",
        )

    def drain(self) -> None:
        """No new clients and no new transfers; again does nothing."""
        if self.draining:
            return
        self.draining = True
        for server in self._servers:
            server.close()
        for session in [*self.sessions, *self.http_sessions]:
            session.drain()

    def abort(self) -> None:
        """End everything at once."""
        for session in [*self.sessions, *self.http_sessions]:
            session.abort()
        for lingering in list(self.lingering):
            lingering.abort()

    async def wait_drained(self) -> None:
        """Until all has ended in good order, or the time for that is over."""
        deadline_s = time.monotonic() + self.limits.drain_timeout_s
        # A transfer without a session: an upload that is on its way to the disk.
        while self.sessions or self.http_sessions or self.lingering or self.transfers:
            if time.monotonic() >= deadline_s:
                self.log.event("drain_timeout", sessions=len(self.sessions))
                self.abort()
                deadline_s = float("inf")
            for lingering in list(self.lingering):
                lingering.drained()
            await asyncio.sleep(DRAIN_LOOK_S)

    async def close(self) -> None:
        """Give back what is left: listeners, tasks, threads."""
        self._sweeper.stop()
        if self._report_timer is not None:
            self._report_timer.cancel()
        for server in self._servers:
            server.close()
        self.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pool in (self.files, self.passwords, self.digests):
            pool.shut_down()
        self._count_commands()
        self.log.tell_repeated(everything=True)

    def reload(self) -> None:
        """SIGHUP: for the sessions that begin from now on; limits count for all."""
        if self.site.reload():
            self.ftp_setup = setup_of(self.site)

    # What sessions tell and ask.

    def admit(self, session: Control) -> str | None:
        """Why a client may not come in; None: it has."""
        meters = self.site.meters
        if self.draining:
            return "the server is closing down"
        reason = self.site.gate.admit(session.address)
        meters.add(Meter.CONNECTIONS)
        if reason is not None:
            meters.add(Meter.REFUSED)
            self.log.repeated("refused", address=session.address, reason=reason)
            return reason
        self.sessions.add(session)
        session.places = 1
        meters.add(Meter.CLIENTS)
        meters.add(Meter.FTP_SESSIONS)
        return None

    def gone(self, session: Control) -> None:
        """The connection of a client who was admitted, or not, has ended."""
        if session in self.sessions:
            self.sessions.discard(session)
            session.leave_place()

    def release(self, session: Control) -> None:
        """The last connection of a client has gone: somebody else may come in."""
        self.site.gate.release(session.address)
        self.site.meters.add(Meter.CLIENTS, -1)
        self.site.meters.add(Meter.FTP_SESSIONS, -1)

    def transfer_begins(self, transfer: Transfer) -> None:
        self.transfers[transfer] = None
        self.listings_bytes += transfer.held_bytes
        if transfer.direction:
            self.site.meters.add(Meter.SENDING if transfer.direction == "o" else Meter.RECEIVING)

    def transfer_ends(self, transfer: Transfer) -> None:
        del self.transfers[transfer]
        self.listings_bytes -= transfer.held_bytes
        if transfer.direction:
            meter = Meter.SENDING if transfer.direction == "o" else Meter.RECEIVING
            self.site.meters.add(meter, -1)

    def wait_for_turn(self, session: FtpSession) -> None:
        """A session has more commands than one turn is for.

        Of all that do one has its turn between two looks at the sockets: what such clients cost the
        others does not grow with their number.
        """
        self._turns.append(session)
        if len(self._turns) == 1:
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        session = self._turns.popleft()
        if self._turns:
            self.loop.call_soon(self._next_turn)
        session.turn_comes()

    def in_thread(
        self,
        done: Callable[[Result | None, BaseException | None], object],
        function: Callable[..., Result],
        *arguments: Any,
        pool: Pool | None = None,
    ) -> bool:
        """Have a thread call a function, and be told result or error; False: too many wait.

        *pool*: `passwords` or `digests`; None: `files`.
        """
        pool = pool or self.files
        if pool.is_full(self.limits.jobs_queued_max):
            return False
        pool.jobs += 1
        self.site.meters.add(Meter.JOBS)
        future = self.loop.run_in_executor(pool.executor, function, *arguments)
        future.add_done_callback(functools.partial(self._job_done, pool, done))
        return True

    def _job_done(
        self,
        pool: Pool,
        done: Callable[[Any, BaseException | None], object],
        future: asyncio.Future[Any],
    ) -> None:
        pool.jobs -= 1
        self.site.meters.add(Meter.JOBS, -1)
        if future.cancelled():
            done(None, None)
        elif (error := future.exception()) is not None:
            if not isinstance(error, (OSError, ValueError)):
                self.unexpected(error)
            done(None, error)
        else:
            done(future.result(), None)

    def remove_stale_uploads(self) -> None:
        """Have a thread look for temporaries that nobody writes; not where nobody ever may."""

        def removed(count: int | None, error: BaseException | None) -> None:
            if count:
                self.log.event("stale_uploads_removed", files=count)

        if self.site.users.may_write:
            self.in_thread(removed, self.site.tree.remove_stale_uploads)

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """A task that is kept until it has ended."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def unexpected(self, error: BaseException) -> None:
        """Our own mistake: it is counted, and told to whoever watches the loop."""
        self.site.meters.add(Meter.ERRORS)
        self.loop.call_exception_handler(
            {"message": "headrace serve: unexpected error", "exception": error}
        )

    # What the sweeper asks.

    def _members(self) -> Iterator[Sweepable]:
        yield from list(self.sessions)
        yield from [_Http(session) for session in self.http_sessions]
        yield from list(self.lingering)

    def _shortest_limit_s(self) -> float:
        limits = self.limits
        return min(
            limits.login_timeout_s,
            limits.idle_timeout_s,
            limits.stall_timeout_s,
            limits.data_connection_timeout_s,
            limits.header_timeout_s,
            limits.keep_alive_timeout_s,
            limits.rate_window_s,
        )

    def _report(self) -> None:
        """That the worker is alive, and how it is, once a second."""
        self._report_timer = self.loop.call_later(REPORT_S, self._report)
        self._board.beat(self._number)
        self._count_commands()
        self.log.tell_repeated()
        self._reporter.report()

    def _count_commands(self) -> None:
        commands, self.commands = self.commands, 0
        self.site.meters.add(Meter.COMMANDS, commands)


class _Http:
    """An HTTP session, as the sweeper wants to see it."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        self._session = session

    def sweep(self, now: float) -> None:
        self._session.check(now)


def passive_ports_of(site: Site) -> Ports:
    configured = site.settings.passive_ports
    return Ports.of_system() if configured is None else Ports(*configured)


def setup_of(site: Site) -> Setup:
    """What the FTP core must know of the settings."""
    settings = site.settings
    return Setup.of(settings.limits, tls=site.tls is not None, tls_required=settings.tls_required)


def run(site: Site, listening: Sequence[Listening], **of_worker: Any) -> None:
    """A worker's whole life, in its own process; *of_worker* is what Worker() takes besides."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    model = site.settings.model
    with asyncio.Runner(loop_factory=lambda: headrace.new_event_loop(model)) as runner:
        runner.run(serve(site, listening, **of_worker))


async def serve(
    site: Site, listening: Sequence[Listening], *, tidy: bool = False, **of_worker: Any
) -> None:
    """Serve until DRAIN or ABORT; *tidy*: remove what killed workers have left."""
    loop = asyncio.get_running_loop()
    worker = Worker(site, loop, **of_worker)
    told = asyncio.Event()

    def end() -> None:
        told.set()
        worker.drain()

    def end_at_once() -> None:
        end()
        worker.abort()

    loop.add_signal_handler(DRAIN, end)
    loop.add_signal_handler(ABORT, end_at_once)
    loop.add_signal_handler(signal.SIGHUP, worker.reload)
    # Blocked since before the fork.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    await worker.start(listening)
    if tidy:
        worker.remove_stale_uploads()
    try:
        await told.wait()
        await worker.wait_drained()
    finally:
        await worker.close()
