"""How a data connection comes about: by the client's connecting (PASV, EPSV), or ours (PORT, EPRT).

Decisions.  A passive listener is one plain socket, for one connection, and it is watched only while
a command waits for it: most clients have connected before they send RETR, and then one accept() is
all there is to do.  Its address is the one that the client reached us at; its peer must have the
address of the control connection (RFC 2577 section 3), and anybody else is closed at once.
"""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable

from headrace.serve.ftp.ports import Ports, listening

__all__ = ["ACTIVE_PORT_MIN", "NO_LINGER", "Active", "Passive", "Rendezvous", "reset"]

# RFC 2577 section 3: no connections to the ports of the system's own services.
ACTIVE_PORT_MIN = 1024
IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>; of IPv6 sockets, too
NO_LINGER = struct.pack("ii", 1, 0)

Connected = Callable[[socket.socket], None]
Failed = Callable[[OSError], None]


def reset(sock: socket.socket) -> None:
    """Close with RST: the peer must not take what it has for the whole."""
    with contextlib.suppress(OSError):  # the peer has reset it already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    sock.close()


class Rendezvous:
    """Where client and server will meet: what `Passive` and `Active` have in common."""

    __slots__ = ()

    def take_nowait(self) -> socket.socket | None:
        """The connection, if it is there already; after that the rendezvous is closed."""
        raise NotImplementedError

    def wait(self, connected: Connected, failed: Failed) -> None:
        """Call one of the two, once; neither after close()."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Passive(Rendezvous):
    """A listening socket for one connection of one peer.

    Raises:
        NoPort: no port of the range is free.
        OSError: no socket can be had.
    """

    __slots__ = ("_connected", "_loop", "_peer", "port", "sock")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: tuple[int, str],
        peer: str,
        ports: Ports,
    ) -> None:
        self.sock, self.port = listening(*address, ports)
        self._loop = loop
        self._peer = peer
        self._connected: Connected | None = None

    def take_nowait(self) -> socket.socket | None:
        while True:
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EPROTO, errno.EINTR):
                    continue
                raise
            if address[0] == self._peer:
                self.close()
                sock.setblocking(False)
                return sock
            reset(sock)

    def wait(self, connected: Connected, failed: Failed) -> None:
        self._connected = connected
        self._loop.add_reader(self.sock.fileno(), self._readable, failed)

    def _readable(self, failed: Failed) -> None:
        connected = self._connected
        try:
            sock = self.take_nowait()
        except OSError as error:  # EMFILE, for one: closed, so that it cannot spin
            self.close()
            failed(error)
            return
        if sock is not None and connected is not None:
            connected(sock)

    def close(self) -> None:
        if self._connected is not None:
            self._loop.remove_reader(self.sock.fileno())
            self._connected = None
        self.sock.close()


class Active(Rendezvous):
    """Connects to where the client listens: its own address, no port of the system's services.

    It connects from *here*, the address that the client has reached us at: of a machine with
    several, the client and the firewalls on the way expect no other.
    """

    __slots__ = ("_address", "_family", "_here", "_loop", "_watched", "sock")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, family: int, here: str, host: str, port: int
    ) -> None:
        self._loop = loop
        self._family = family
        self._here = here
        self._address = (host, port)
        self._watched = False
        self.sock: socket.socket | None = None

    def take_nowait(self) -> socket.socket | None:
        return None

    def wait(self, connected: Connected, failed: Failed) -> None:
        self.sock = sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # bind() names the address only; connect() finds a port, which is much faster (ports.py).
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self._here, 0))
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            self.close()
            # Not before the caller has returned: it may have something to say first.
            self._loop.call_soon(failed, OSError(code, os.strerror(code)))
            return
        self._watched = True
        self._loop.add_writer(sock.fileno(), self._writable, connected, failed)

    def _writable(self, connected: Connected, failed: Failed) -> None:
        sock = self.sock
        if sock is None:
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.close()
            failed(OSError(code, os.strerror(code)))
            return
        self._forget()
        self.sock = None
        connected(sock)

    def _forget(self) -> None:
        if self._watched and self.sock is not None:
            self._watched = False
            self._loop.remove_writer(self.sock.fileno())

    def close(self) -> None:
        self._forget()
        if self.sock is not None:
            self.sock.close()
            self.sock = None
