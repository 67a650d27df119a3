"""Which port a passive listener gets: chosen by us, for the kernel's own choice is slow here.

Facts.  The side that closes first keeps the connection's port in TIME_WAIT for a minute, and of
data connections that is us.  bind() to port 0 looks for a port that nothing at all has, one after
the other, and for it TIME_WAIT counts whatever SO_REUSEADDR says (inet_csk_find_open_port() begins
with `relax = false`).  With 6,000 ports in TIME_WAIT, the traffic of half a minute, it took 425 us
each time, more than everything else in a transfer; and with 470 transfers a second no port is left.

bind() to a port that is named is allowed beside TIME_WAIT, and costs 2 us.  So we name one at
random (RFC 2577 section 5 asks for that: who can guess it can connect first), and another one where
somebody listens already.  The system's random numbers are 1 us each; those of `random` can be told
from some hundred earlier ones, which are what PASV answers.
"""

import errno
import random
import socket
from typing import NamedTuple

__all__ = ["NoPort", "Ports", "listening"]

# The client's connection, and a stranger's or two who are turned away.
BACKLOG = 3
# So many ports are tried before the client is told to come back; with half of them in use that is
# once in 10^9 times.
TRIES_MAX = 30
RANDOM = random.SystemRandom()
RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
RESERVED_FILE = "/proc/sys/net/ipv4/ip_local_reserved_ports"
RANGE_DEFAULT = (32768, 60999)


class NoPort(OSError):
    """Every port that was tried is in use."""


class Ports(NamedTuple):
    """Ports that may be listened at, both ends included, but for the reserved ones."""

    first: int
    last: int
    reserved: frozenset[int] = frozenset()

    @classmethod
    def of_system(cls) -> "Ports":
        """Those from which the kernel would take one."""
        try:
            with open(RANGE_FILE, encoding="ascii") as file:
                first, last = map(int, file.read().split())
            with open(RESERVED_FILE, encoding="ascii") as file:
                reserved = parse_ranges(file.read())
        except (OSError, ValueError):
            return cls(*RANGE_DEFAULT)
        return cls(first, last, reserved)

    def candidates(self) -> list[int]:
        """Some at random; all of them, in random order, where there are few."""
        count = self.last - self.first + 1
        if count <= TRIES_MAX:
            return RANDOM.sample(range(self.first, self.last + 1), count)
        return [self.first + int(RANDOM.random() * count) for _ in range(TRIES_MAX)]


def parse_ranges(text: str) -> frozenset[int]:
    """``8080,9000-9010`` as the kernel writes it; nothing where nothing is reserved."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def listening(family: int, host: str, ports: Ports) -> tuple[socket.socket, int]:
    """A listening socket for one data connection, and its port.

    Raises:
        NoPort: none is free, as far as was tried.
        OSError: no socket can be had.
    """
    first, last, reserved = ports
    port = first + int(RANDOM.random() * (last - first + 1))
    if port not in reserved and (sock := listening_at(family, host, port)):
        return sock, port
    for port in ports.candidates():
        if port not in reserved and (sock := listening_at(family, host, port)):
            return sock, port
    raise NoPort(errno.EADDRINUSE, "no passive port is free")


def listening_at(family: int, host: str, port: int) -> socket.socket | None:
    """None where somebody listens already."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return sock
