"""What is done for each command that the core hands out: verb -> function of session and command.

Each function answers, at once or later; whatever it raises of OSError and BadPath is answered by
the session.  ABOR and STAT are here: they are about what runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.serve.ftp import connecting, hashing, listings, logins, naming, transfers
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.passive import Rendezvous, reset
from headrace.serve.ftp.replies import reply_lines
from headrace.serve.ftp.transfer import ABORTED

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS", "Action"]

Action = Callable[["Session", Command], None]


def abort(session: Session, command: Command) -> None:
    """RFC 959 section 4.1.3: 426 for the transfer, then 226 for ABOR.

    A transfer that has been answered with 226 may still lie in the kernel's buffer: that is ended,
    too.  225 says that there was nothing to end.
    An upload that is on its way to the disk is not ended, and has its own reply first.
    """
    running = session.core.running
    lingering, session.lingering = session.lingering, None
    if lingering is not None and not lingering.drained():
        lingering.transfer.reason = "aborted"
        lingering.abort()
        ended = True
    else:
        ended = False
    if session.transfer is not None and session.transfer.waits(command):
        return  # transfer_ended() answers
    if session.transfer is not None:
        session.transfer.fail_as("aborted", 426, ABORTED)
        ended = True
    elif running is not None and running is not command:
        end_job(session, running)
        ended = True
    if ended:
        session.answer(command, 226, "Ended.")
    else:
        session.answer(command, 225, "Nothing to end.")


def end_job(session: Session, running: Command) -> None:
    """What a thread works at for a command: its result will find that nobody waits for it.

    A transfer's data connection is there already, perhaps, and must not look as if all had come.
    """
    if session.stop_job is not None:
        session.stop_job[0] = True
        session.stop_job = None
        session.answer(running, 450, "Ended by ABOR.")
        return
    rendezvous, session.rendezvous = session.rendezvous, None
    if rendezvous is not None:
        drop(rendezvous)
    session.answer(running, 426, ABORTED)


def drop(rendezvous: Rendezvous) -> None:
    """Close it; the client's connection, if it is there, is reset."""
    with contextlib.suppress(OSError):
        sock = rendezvous.take_nowait()
        if sock is not None:
            reset(sock)
    rendezvous.close()


def status(session: Session, command: Command) -> None:
    """STAT: of the session, also while it transfers (RFC 959 section 4.1.3)."""
    if command.argument:
        listings.status_of(session, command)
        return
    state = session.core.state
    who = "not logged in" if state.user is None else f"logged in as {state.user.name}"
    tls = session.transport.get_extra_info("cipher")
    lines = [
        f"Connected from {session.address}, {who}",
        f"TYPE {state.type}, STRU F, MODE {state.mode}",
        f"Control connection: {tls[1] if tls else 'in the clear'}",
        f"Data connections: {'encrypted' if state.protected else 'in the clear'}",
    ]
    transfer = session.transfer
    if transfer is None:
        lines.append("No transfer")
    else:
        seconds = time.monotonic() - transfer.progress.began_s
        lines.append(
            f"{transfer.verb} {transfer.path}: {transfer.done} bytes in {seconds:.1f} seconds"
        )
    session.send(command, reply_lines(211, "Status:", lines, "End"))


ACTIONS: dict[str, Action] = {
    **logins.ACTIONS,
    **connecting.ACTIONS,
    **naming.ACTIONS,
    **transfers.ACTIONS,
    **listings.ACTIONS,
    **hashing.ACTIONS,
    "ABOR": abort,
    "STAT": status,
}
