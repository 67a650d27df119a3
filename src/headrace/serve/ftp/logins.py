"""Who the client is, and how the session begins anew and ends: USER, PASS, AUTH, REIN, QUIT.

A password takes as long as scrypt is meant to take, so a thread looks at it; so many wait for one
at most, and the next gets 421.  The answer to a wrong one comes after a delay, which holds no
thread and nobody else.  A name that does not exist is asked for its password as any other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.serve.ftp.connecting import forget
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.replies import reply
from headrace.serve.meters import Meter
from headrace.serve.users import ANONYMOUS_NAMES, User

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS"]

WRONG = "Login incorrect."
MAIL_CHARACTERS_MAX = 128
"""Of an anonymous client's mail address: a session keeps it, and must stay small."""
BUSY = "The server is busy; try again later."


def user(session: Session, command: Command) -> None:
    """RFC 959 section 4.1.1, and RFC 1635 section 2 for anonymous."""
    log_out(session)
    if command.argument in ANONYMOUS_NAMES and session.site.users.anonymous() is not None:
        session.answer(command, 331, "Any password will do; your mail address is customary.")
    else:
        session.answer(command, 331, "Password required.")


def log_out(session: Session) -> None:
    """What was agreed on with who was logged in counts no more.

    Whoever was has the login's time again.  Nobody else has, or it would be endless.
    """
    forget(session)
    if session.tree is not None:
        session.tree = None
        session.began_s = time.monotonic()


def password(session: Session, command: Command) -> None:
    site = session.site
    name = session.core.state.user_name or ""
    known = site.users.anonymous() if name in ANONYMOUS_NAMES else None
    if known is None:
        if site.gate.login_refused(session.address):
            site.log.repeated("login_locked_out", address=session.address, user=name)
            session.send(command, reply(421, "Too many failed logins; come back later."))
            session.finish()
            return
        known = site.users.recall(name, command.argument)
    else:
        session.core.state.mail = command.argument[:MAIL_CHARACTERS_MAX]
    if known is not None:
        welcome(session, command, known)
        return

    def verified(found: User | None, error: BaseException | None) -> None:
        if session.closing or session.core.running is not command:
            if found is None and error is None:
                # Who does not wait for the answer has failed all the same.
                site.login_failed("login_failed", session.address, name)
            return
        if found is not None:
            welcome(session, command, found)
            session.work()
        else:
            refuse(session, command, name)

    worker = session.worker
    arguments = name, command.argument
    if not worker.in_thread(verified, site.users.verify, *arguments, pool=worker.passwords):
        session.send(command, reply(421, BUSY))
        session.finish()


def welcome(session: Session, command: Command, found: User) -> None:
    site = session.site
    try:
        session.tree = site.tree_of(found)
    except OSError as error:
        site.log.event("no_home", user=found.name, home=found.home, error=error.strerror)
        session.answer(command, 530, "Your folder is not there.")
        return
    state = session.core.state
    state.log_in(found)
    service = "ftps" if session.encrypted else "ftp"
    site.log.event("login", address=session.address, user=found.name, service=service)
    site.meters.add(Meter.LOGINS)
    session.answer(command, 230, "Logged in.")


def refuse(session: Session, command: Command, name: str) -> None:
    """After a delay: whoever tries passwords must not be fast."""
    site = session.site
    delay_s = site.login_failed("login_failed", session.address, name)
    session.attempts += 1

    def tell() -> None:
        if session.closing or session.core.running is not command:
            return
        if session.attempts >= session.worker.limits.login_attempts_max:
            session.send(command, reply(421, WRONG))
            session.finish()
        else:
            session.answer_later(command, 530, WRONG)

    session.worker.loop.call_later(delay_s, tell)


def auth(session: Session, command: Command) -> None:
    """RFC 4217 section 4: TLS begins right after the answer."""
    if session.site.tls is None:
        session.answer(command, 431, "TLS is not set up here.")
        return
    session.answer(command, 234, "Begin TLS.")
    session.flush()
    log_out(session)
    session.upgrade()


def reinitialize(session: Session, command: Command) -> None:
    session.stop_working()
    log_out(session)
    session.answer(command, 220, "Ready.")


def quit_session(session: Session, command: Command) -> None:
    session.answer(command, 221, "Goodbye.")
    session.finish()


ACTIONS = {
    "USER": user,
    "PASS": password,
    "AUTH": auth,
    "REIN": reinitialize,
    "QUIT": quit_session,
}
