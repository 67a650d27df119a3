"""The event loop: native where it is hot, CPython's own where it is not.

`EventLoop` inherits its cold paths from asyncio.BaseEventLoop (create_connection with happy
eyeballs, create_server, getaddrinfo, executors, the exception handler, async generators, debug
mode), version by version, and everything that runs per callback or per packet from the native
classes beside this file.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import stat
import sys
import threading
import warnings
from asyncio import base_events, coroutines
from collections.abc import Callable
from typing import Any

from headrace.core.handle import Handle
from headrace.kernel.fork import fork_generation_now
from headrace.kernel.real_time_signal import signals_reserved
from headrace.loop import witness
from headrace.loop.datagram_sockets import DatagramMethods
from headrace.loop.listener import Listener
from headrace.loop.pipe_transport import read_pipe_transport, write_pipe_transport
from headrace.loop.processes import ProcessMethods
from headrace.loop.resolving import numeric_addresses
from headrace.loop.stream_transport import stream_transport
from headrace.loop.tls import tls_protocol
from headrace.models import registry
from headrace.models.contract import Model

logger = logging.getLogger("asyncio")

# Bound now: blockbuster, with which libraries' tests find calls that block a loop, replaces those
# of the module `os`.  It excepts asyncio's create_unix_server() by its file's name, and not ours.
_stat, _unlink = os.stat, os.unlink


def somaxconn() -> int:
    """The longest listen backlog that the system grants.

    asyncio's default of 100 turns a connect storm into SYN retransmissions: measured, 200
    connections a second instead of 45,000.
    """
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return socket.SOMAXCONN


# A wait that spins longer than this would rather have a core of its own.
SPIN_US_MAX = 1_000_000
SPIN_VARIABLE = "HEADRACE_SPIN_US"


def spin_seconds(spin_us: float | None) -> float:
    """How long a wait asks before it sleeps; None is what $HEADRACE_SPIN_US says, else 0."""
    if spin_us is not None:
        return checked_spin("spin_us", spin_us)
    text = os.environ.get(SPIN_VARIABLE, "") or "0"
    try:
        return checked_spin(f"${SPIN_VARIABLE}", float(text))
    except ValueError:
        return checked_spin(f"${SPIN_VARIABLE}", text)


def checked_spin(name: str, given: object) -> float:
    if isinstance(given, (int, float)) and 0 <= given <= SPIN_US_MAX:
        return given / 1e6
    raise ValueError(f"{name} must be from 0 to {SPIN_US_MAX:,} microseconds: {given!r}")


class EventLoop(DatagramMethods, ProcessMethods, asyncio.BaseEventLoop):
    """An asyncio event loop on one I/O model."""

    def __init__(self, model: str | Model | None = None, *, spin_us: float | None = None) -> None:
        spin_s = spin_seconds(spin_us)
        # If this fails, the loop has never been open.
        if isinstance(model, Model):
            opened = model
            self._open(opened)
        else:
            opened = registry.open_model(model, self._open)
        asyncio.BaseEventLoop.__init__(self)
        self._spin_s = spin_s
        if opened.has_own_clock:
            # On the instance, as a patched loop.time() would stand: other models pay nothing.
            self.time = opened.time  # type: ignore[method-assign]
        self._signal_handlers: dict[int, Any] = {}
        self._children = set()
        self._listeners: dict[int, Listener] = {}
        self._unix_inodes: dict[int, tuple[str | bytes, int]] = {}
        self._fork_generation = fork_generation_now()

    def __repr__(self) -> str:
        return (
            f"<EventLoop model={self.model!r} running={self.is_running()} "
            f"closed={self.is_closed()} debug={self.get_debug()}>"
        )

    # Running and closing.

    def run_forever(self) -> None:
        self._check_closed()
        self._check_running()
        forked = self._fork_generation != fork_generation_now()
        self._fork_generation = fork_generation_now()
        self._bind(forked)
        mine = self._take_wakeup_fd()
        noted = witness.note_begin(self, self.model)
        try:
            super().run_forever()
        finally:
            self._unbind()
            if noted:
                witness.note_end(self, self.model)
            if mine and not self._signal_handlers:
                signal.set_wakeup_fd(-1)

    def _take_wakeup_fd(self) -> bool:
        """Let signals wake the loop, unless somebody else uses the wake-up descriptor.

        Without it a signal that arrives between the last bytecode and the wait would be
        noticed only when something else happens.
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        mine = self._wake_writer.fileno()
        before = signal.set_wakeup_fd(mine, warn_on_full_buffer=False)
        if before not in (-1, mine) and not _is_of_parent(before):
            signal.set_wakeup_fd(before)
            return False
        _remember_wakeup_fd(mine)
        return True

    def close(self) -> None:
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        try:
            # In a thread that may not change handlers this raises; as in asyncio, all gets closed.
            self._forget_signal_handlers()
        finally:
            self._give_back_wakeup_fd()
            self._forget_children()
            super().close()
            self._close_core()

    def _give_back_wakeup_fd(self) -> None:
        """Its number may be another file's soon, and would get the bytes of our signals."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.set_wakeup_fd(-1)
        if before not in (-1, self._wake_writer.fileno()):
            signal.set_wakeup_fd(before)

    def _forget_signal_handlers(self) -> None:
        if not sys.is_finalizing():
            for number in list(self._signal_handlers):
                self.remove_signal_handler(number)
        elif self._signal_handlers:
            warnings.warn(
                f"Closing the loop {self!r} on interpreter shutdown stage, skipping signal "
                "handlers removal",
                ResourceWarning,
                stacklevel=3,
                source=self,
            )
            self._signal_handlers.clear()

    # Signals.

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        if coroutines.iscoroutine(callback) or coroutines.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        self._check_signal_is_free(sig)
        try:
            signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
            _remember_wakeup_fd(self._wake_writer.fileno())
        except (ValueError, OSError) as error:
            raise RuntimeError(str(error)) from error
        self._signal_handlers[sig] = Handle(callback, args, self, None)
        try:
            # The handler itself is the byte that the interpreter writes to the socket pair.
            signal.signal(sig, _do_nothing)
            signal.siginterrupt(sig, False)
        except OSError as error:
            del self._signal_handlers[sig]
            if not self._signal_handlers and not self.is_running():
                signal.set_wakeup_fd(-1)
            raise RuntimeError(f"sig {sig} cannot be caught") from error

    def remove_signal_handler(self, sig: int) -> bool:
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as error:
            raise RuntimeError(f"sig {sig} cannot be caught") from error
        if not self._signal_handlers and not self.is_running():
            signal.set_wakeup_fd(-1)
        return True

    def _handle_signal(self, number: int) -> None:
        handle = self._signal_handlers.get(number)
        if handle is None:
            return
        if handle.cancelled():
            self.remove_signal_handler(number)
        else:
            self._add_callback_signalsafe(handle)

    def _check_signal(self, sig: int) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def _check_signal_is_free(self, sig: int) -> None:
        """A handler for what a model needs itself would not run, or would stop the model."""
        owner = signals_reserved().get(sig)
        if owner is not None:
            raise RuntimeError(
                f"sig {sig} is kept for {owner} of headrace in this process; use another "
                "real-time signal"
            )
        if sig in self._model.signals_needed:
            raise RuntimeError(
                f"sig {sig} ({signal.Signals(sig).name}) is needed by the loop's model "
                f"{self.model!r} itself; use another signal, or another model"
            )

    # Connections.

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        found = None
        # Debug mode says how long it has taken.
        if not self.get_debug():
            found = numeric_addresses(host, port, family, type, proto, flags)
        if found is not None:
            return found
        return await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: Any = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
    ) -> Any:
        self._check_no_transport(sock)
        base_events._set_nodelay(sock)
        return stream_transport(self, sock, protocol, waiter, extra, server)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        tls = tls_protocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, tls, extra=extra, server=server)
        return tls._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """As asyncio's, with the TLS that connections have."""
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(
                f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
            )
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        tls = tls_protocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # Nothing that has come for TLS may reach the protocol that is there now.
        transport.pause_reading()
        transport.set_protocol(tls)
        begin = self.call_soon(tls.connection_made, transport)
        read_on = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            begin.cancel()
            read_on.cancel()
            raise
        return tls._app_transport

    async def _sendfile_native(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
        resume_reading = transport.is_reading()
        transport.pause_reading()
        try:
            await transport._make_empty_waiter()
            return await self._send_on_loan(transport, file, offset, count)
        finally:
            transport._reset_empty_waiter()
            if resume_reading:
                transport.resume_reading()

    async def _send_on_loan(self, transport: Any, file: Any, offset: int, count: int | None) -> int:
        """sock_sendfile() on a transport's descriptor, for as long as the connection lives."""
        loan = transport._lend()
        self._forget_transport(transport)
        sending = self.create_task(
            self.sock_sendfile(transport._sock, file, offset, count, fallback=False)
        )

        def take_back(_: Any) -> None:
            if not sending.cancelled():
                sending.exception()  # it has been raised, or the connection's loss says more
            self._remember_transport(transport)
            transport._take_back()

        # Whatever happens here: a wait for it could be cancelled in its turn.
        sending.add_done_callback(take_back)
        try:
            await asyncio.wait((sending, loan), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ConnectionAbortedError("the connection was lost during sendfile")
            return sending.result()
        finally:
            sending.cancel()
            await asyncio.wait((sending,))

    # Pipes.

    def _make_read_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: dict[str, Any] | None = None
    ) -> Any:
        return read_pipe_transport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: dict[str, Any] | None = None
    ) -> Any:
        return write_pipe_transport(self, pipe, protocol, waiter, extra)

    # Servers.

    async def create_server(self, *args: Any, backlog: int | None = None, **kwargs: Any) -> Any:
        """As asyncio's, but *backlog* is the system's longest (somaxconn) where none is given."""
        backlog = somaxconn() if backlog is None else backlog
        return await super().create_server(*args, backlog=backlog, **kwargs)

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        tls = None
        if sslcontext is not None:
            tls = _ServerTls(self, sslcontext, ssl_handshake_timeout, ssl_shutdown_timeout)
        listener = Listener(self, sock, protocol_factory, server, tls)
        self._listeners[sock.fileno()] = listener
        listener.start()

    def _stop_serving(self, sock: socket.socket) -> None:
        self._remove_unix_path(sock.fileno())
        listener = self._listeners.pop(sock.fileno(), None)
        if listener is None:
            sock.close()
        else:
            listener.stop()

    if sys.version_info >= (3, 13):

        def _attach_to_server(self, server: Any, transport: Any) -> None:
            server._attach(transport)

        def _detach_from_server(self, server: Any, transport: Any) -> None:
            server._detach(transport)

    else:

        def _attach_to_server(self, server: Any, transport: Any) -> None:
            server._attach()

        def _detach_from_server(self, server: Any, transport: Any) -> None:
            server._detach()

    # Unix sockets.

    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        _check_tls_arguments(ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                await self.sock_connect(sock, os.fspath(path))
            except BaseException:
                sock.close()
                raise
        else:
            _check_unix_socket(sock)
            assert sock is not None
            sock.setblocking(False)
        return await self._create_connection_transport(
            sock,
            protocol_factory,
            ssl,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    async def create_unix_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int | None = None,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = sys.version_info >= (3, 13),
    ) -> Any:
        """As asyncio's, but *backlog* is the system's longest (somaxconn) where none is given."""
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        _check_tls_arguments(ssl, "", ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            sock = _bind_unix_socket(os.fspath(path))
        else:
            _check_unix_socket(sock, "path was not specified, and no sock specified")
        assert sock is not None
        if cleanup_socket:
            self._remember_unix_path(sock)
        sock.setblocking(False)
        server = base_events.Server(
            self,
            [sock],
            protocol_factory,
            ssl,
            somaxconn() if backlog is None else backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
        if start_serving:
            server._start_serving()
            await asyncio.sleep(0)
        return server

    def _remember_unix_path(self, sock: socket.socket) -> None:
        """Remember which file is *sock*'s, to remove it, and no other, with the server."""
        path = sock.getsockname()
        if path and path[0] not in (0, "\x00"):
            # A socket whose file is gone serves those who are connected or have its descriptor.
            with contextlib.suppress(FileNotFoundError):
                self._unix_inodes[sock.fileno()] = (path, _stat(path).st_ino)

    def _remove_unix_path(self, fd: int) -> None:
        path, inode = self._unix_inodes.pop(fd, (None, None))
        if path is None:
            return
        try:
            if _stat(path).st_ino == inode:
                _unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.error("Unable to clean up listening UNIX socket %r: %r", path, error)


class _ServerTls:
    """Puts TLS between an accepted connection and its protocol."""

    def __init__(
        self,
        loop: EventLoop,
        context: Any,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> None:
        self.loop = loop
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.shutdown_timeout = shutdown_timeout

    def __call__(self, protocol: asyncio.BaseProtocol) -> Any:
        waiter = self.loop.create_future()
        waiter.add_done_callback(self._handshake_done)
        return tls_protocol(
            self.loop,
            protocol,
            self.context,
            waiter,
            server_side=True,
            ssl_handshake_timeout=self.handshake_timeout,
            ssl_shutdown_timeout=self.shutdown_timeout,
        )

    def _handshake_done(self, waiter: asyncio.Future[None]) -> None:
        """A failed handshake is the client's affair; as asyncio, say so in debug mode only."""
        error = None if waiter.cancelled() else waiter.exception()
        if error is not None and self.loop.get_debug():
            self.loop.call_exception_handler(
                {
                    "message": "Error on transport creation for incoming connection",
                    "exception": error,
                }
            )


# The wake-up descriptor that a loop of ours has set last, and the process's fork generation then.
_wakeup_fd_set = (-1, 0)


def _remember_wakeup_fd(fd: int) -> None:
    global _wakeup_fd_set
    _wakeup_fd_set = (fd, fork_generation_now())


def _is_of_parent(fd: int) -> bool:
    """Was *fd* set by a loop before this process was forked?  Its bytes go to the parent."""
    set_fd, generation = _wakeup_fd_set
    return fd == set_fd and generation != fork_generation_now()


def _do_nothing(number: int, frame: Any) -> None:
    """The C-level handler has written the signal's number to the wake-up descriptor."""


def _check_tls_arguments(
    ssl: Any,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> None:
    if ssl is not None and ssl is not False:
        if server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
        return
    if server_hostname:
        raise ValueError("server_hostname is only meaningful with ssl")
    if handshake_timeout is not None:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if shutdown_timeout is not None:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def _check_unix_socket(
    sock: socket.socket | None, missing: str = "no path and sock were specified"
) -> None:
    if sock is None:
        raise ValueError(missing)
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def _bind_unix_socket(path: str | bytes) -> socket.socket:
    """Bind to *path*; a socket that a dead server left there is removed first."""
    if path[:1] not in (b"\x00", "\x00"):
        try:
            if stat.S_ISSOCK(_stat(path).st_mode):
                os.remove(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            # Go on as asyncio does: bind() will say what is wrong, if anything is.
            base_events.logger.error(
                "Unable to check or remove stale UNIX socket %r: %r", path, error
            )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, f"Address {path!r} is already in use") from None
        raise
    except BaseException:
        sock.close()
        raise
    return sock
