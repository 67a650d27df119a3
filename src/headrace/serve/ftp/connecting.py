"""Where the data connection will be: PASV, EPSV, PORT, EPRT.

RFC 2577 section 3: a server that connects wherever a client says can be made to scan and to attack
others; so PORT and EPRT take the client's own address only, and no port below 1024.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from headrace.serve.ftp.arguments import IPV4, IPV6, format_epsv, format_pasv
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.passive import ACTIVE_PORT_MIN, Active, Passive

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS"]

FAMILIES = {socket.AF_INET: IPV4, socket.AF_INET6: IPV6}


def passive(session: Session, command: Command) -> None:
    """RFC 959 section 4.1.2."""
    host, family = local_host(session)
    if family != socket.AF_INET:
        session.answer(command, 425, "PASV names IPv4 addresses only; use EPSV.")
        return
    port = listen(session, family, host)
    named = session.site.settings.passive_address or host
    session.answer(command, 227, format_pasv(named, port))


def extended_passive(session: Session, command: Command) -> None:
    """RFC 2428 section 3; EPSV ALL is the core's."""
    host, family = local_host(session)
    if command.value is not None and command.value != FAMILIES[family]:
        # Section 3: the family that can be used stands in brackets.
        session.answer(command, 522, f"Network protocol not supported, use ({FAMILIES[family]})")
        return
    session.answer(command, 229, format_epsv(listen(session, family, host)))


def local_host(session: Session) -> tuple[str, socket.AddressFamily]:
    """The address that the client reached us at, and its family."""
    name = session.transport.get_extra_info("sockname")
    return name[0], socket.AF_INET6 if len(name) == 4 else socket.AF_INET


def listen(session: Session, family: int, host: str) -> int:
    """A new passive port, in place of what was agreed before."""
    forget(session)
    worker = session.worker
    made = Passive(worker.loop, (family, host), session.address, worker.passive_ports)
    session.rendezvous = made
    return made.port


def active(session: Session, command: Command) -> None:
    """PORT and EPRT."""
    forget(session)
    host, port, family_number = command.value
    family = socket.AF_INET6 if family_number == IPV6 else socket.AF_INET
    own = session.address.partition("%")[0]
    if ipaddress.ip_address(host) != ipaddress.ip_address(own):
        session.worker.log.repeated(
            "bounce_refused", address=session.address, target=str(host), port=port
        )
        session.answer(command, 501, "The address is not yours.")
    elif port < ACTIVE_PORT_MIN:
        session.answer(command, 501, f"Ports below {ACTIVE_PORT_MIN} are not connected to.")
    else:
        # As accept() names it: a link-local address has its scope there.
        here, _ = local_host(session)
        session.rendezvous = Active(session.worker.loop, family, here, session.address, port)
        session.answer(command, 200, "OK")


def forget(session: Session) -> None:
    if session.rendezvous is not None:
        session.rendezvous.close()
        session.rendezvous = None


ACTIONS = {
    "PASV": passive,
    "EPSV": extended_passive,
    "PORT": active,
    "EPRT": active,
}
