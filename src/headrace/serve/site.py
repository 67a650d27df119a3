"""What the sessions of a worker share: settings, tree, users, gate, log, meters, certificate."""

from __future__ import annotations

import dataclasses
import hashlib
import mmap
import os
import re
import ssl
import time
import weakref
from collections.abc import Callable

from headrace.serve.gate import Gate
from headrace.serve.http.figures import Status
from headrace.serve.logs import Log
from headrace.serve.meters import Meter, Meters
from headrace.serve.settings import BadSettings, Settings
from headrace.serve.tree import Tree
from headrace.serve.users import BadUsers, User, Users

__all__ = ["Site"]

# A chain of certificates is a few kilobytes.
PEM_BYTES_MAX = 1024 * 1024
DIGEST_BYTES = 16
RELOADED = frozenset({"limits", "users", "anonymous", "tls-cert", "tls-key", "config"})
"""Settings that SIGHUP reads again; the others need a restart."""


class Site:
    """Made once, by the master, before it forks; from then on each worker has its own.

    Args:
        settings: as they are at the start.
        meters: of all workers; None: there is one only.
        log: None: as the settings say.
        now: seconds that never go back, the same in all processes.

    Raises:
        BadSettings: a file that the settings name is missing or wrong; one line says which and why.
    """

    def __init__(
        self,
        settings: Settings,
        meters: Meters | None = None,
        log: Log | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.meters = meters or Meters()
        # Who knows all workers sets them: for the status page, and as Prometheus reads them.
        self.status: Callable[[], Status] | None = None
        self.metrics: Callable[[], str] | None = None
        self.users = load_users(settings)
        self.tls = make_tls(settings)
        self.tree = open_tree(settings)
        try:
            self.log = log or open_log(settings)
        except BadSettings:
            self.tree.close()
            raise
        self.gate = Gate(settings.limits, now, self.meters)
        # Of what the master's latest reload came to, in memory that the workers share.
        self._masters_outcome = mmap.mmap(-1, DIGEST_BYTES)
        self._pid = os.getpid()  # the master's
        # Homes are open while somebody is in them, so that their number is the sessions' affair.
        self._homes: weakref.WeakValueDictionary[str, Tree] = weakref.WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<Site {self.settings.directory!r} {self.gate!r}>"

    def tree_of(self, user: User) -> Tree:
        """The tree of a user's home; those who share a home share it.  Nobody closes it.

        Raises:
            OSError: there is no such folder.
        """
        if user.home == "/":
            return self.tree
        tree = self._homes.get(user.home)
        if tree is None:
            tree = self.tree.subtree(user.home)
            self._homes[user.home] = tree
        return tree

    def log_missing_homes(self) -> None:
        """Say whose home is not there, before they try to log in; the master's task alone."""
        for user in self.users:
            try:
                self.tree_of(user)
            except OSError as error:
                self.log.event("no_home", user=user.name, home=user.home, error=error.strerror)

    def log_read_only_homes(self) -> None:
        """Say who may write and cannot, before they try to; the master's task alone."""
        for user in self.users.writers():
            home = os.path.join(self.settings.directory, user.home.lstrip("/"))
            if os.path.isdir(home) and not os.access(home, os.W_OK, effective_ids=True):
                self.log.event("not_writable", user=user.name, home=user.home, uid=os.geteuid())

    def login_failed(self, event: str, address: str, user: str) -> float:
        """Count and log a failure, and the lock-out that begins with it.

        Answers the seconds to wait before the client is told.
        """
        delay_s = self.gate.login_failed(address)
        self.meters.add(Meter.LOGINS_FAILED)
        self.log.event(event, address=address, user=user)
        if self.gate.lockout_begins(address):
            seconds = self.settings.limits.login_lockout_s
            self.log.event("lockout_begins", address=address, user=user, seconds=seconds)
        return delay_s

    def reload(self) -> bool:
        """Users, certificate and limits again, for the sessions that begin from now on.

        The log's files are opened anew.  Everything else stays as it was at the start: the folder,
        the addresses, the workers.  Where something is wrong all stays as it is, and the log says
        what: then the answer is False.  Never raises, for a server that runs must go on.
        """
        try:
            self.log.reopen()
            settings = self.settings.again()
            ignored = differing(self.settings, settings) - RELOADED
            if (settings.tls_cert is None) != (self.tls is None):
                raise BadSettings("tls-cert cannot come or go at a reload: restart")
            users = load_users(settings)
            # A new one: OpenSSL keeps a certificate for each type of key, so that in the one in use
            # a key of another type would leave the old certificate beside the new one.
            tls = make_tls(settings)
        except Exception as error:
            # Also what nobody foresaw: a mistake here is no reason to drop ten thousand clients.
            why = str(error) if isinstance(error, BadSettings) else repr(error)
            if self._is_news(why):
                self.log.event("reload_failed", error=why, pid=os.getpid())
            return False
        self._is_news("")
        self.users = users
        self.tls = tls
        self.gate.limits = settings.limits
        self.settings = dataclasses.replace(self.settings, limits=settings.limits)
        self.log.event("reloaded", users=len(users), pid=os.getpid())
        if os.getpid() == self._pid:
            self.log_missing_homes()
            if ignored:
                self.log.event("needs_restart", settings=",".join(sorted(ignored)))
        return True

    def _is_news(self, error: str) -> bool:
        """What a reload came to, empty where nothing is wrong: is it to be logged here?

        A worker, which reloads after the master, has nothing to add unless it differs.
        """
        data = error.encode("utf-8", "replace")
        digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
        if os.getpid() != self._pid:
            return self._masters_outcome[:] != digest
        self._masters_outcome[:] = digest
        return True

    def close(self) -> None:
        """The tree and the log; the sessions have ended."""
        self.tree.close()
        self.log.close()


def load_users(settings: Settings) -> Users:
    """Raises BadSettings where the file cannot be read or a line of it is wrong."""
    if settings.users is None:
        return Users((), settings.anonymous)
    try:
        return Users.load(settings.users, settings.anonymous)
    except BadUsers as error:
        raise BadSettings(str(error)) from None


def open_tree(settings: Settings) -> Tree:
    """Raises BadSettings where the folder cannot be opened."""
    try:
        return Tree(
            settings.directory, sync=settings.sync_uploads, keep_partial=settings.keep_partial
        )
    except OSError as error:
        raise BadSettings(f"{settings.directory}: {error.strerror}") from None


def open_log(settings: Settings) -> Log:
    """Raises BadSettings where a file cannot be opened."""
    try:
        return Log(settings.log_format, settings.log_file, settings.xferlog)
    except OSError as error:
        raise BadSettings(f"{error.filename}: {error.strerror}") from None


def make_tls(settings: Settings) -> ssl.SSLContext | None:
    """The server's side of TLS; None where no certificate is set.

    TLS 1.2 at least, as RFC 9325 section 3.1 asks; which ciphers is OpenSSL's to know.

    Raises:
        BadSettings: certificate or key cannot be read, or do not belong together.
    """
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Raises BadSettings, as `make_tls`."""
    certificate, key = settings.tls_cert, settings.tls_key
    assert certificate is not None
    for file in (certificate, key):
        try:
            if file is not None:
                open(file, "rb").close()
        except OSError as error:
            raise BadSettings(f"{file}: {error.strerror}") from None
    named = certificate if key is None else f"{certificate} and {key}"
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKey:
        raise BadSettings(
            f"{key or certificate}: the key is encrypted, and there is nobody to ask; "
            "openssl pkey -in FILE -out NEW makes one that is not"
        ) from None
    except ssl.SSLError as error:
        raise BadSettings(why_unusable(certificate, key, error)) from None
    except OSError as error:
        raise BadSettings(f"{named}: {error.strerror}") from None


def why_unusable(certificate: str, key: str | None, error: ssl.SSLError) -> str:
    """OpenSSL says in which of its lines it failed; this says which file lacks what."""
    if not has_block(certificate, "CERTIFICATE"):
        return f"{certificate}: there is no certificate in it (PEM)"
    if not has_block(key or certificate, "PRIVATE KEY"):
        if key is None:
            return f"{certificate}: there is no private key in it; name its file with --tls-key"
        return f"{key}: there is no private key in it (PEM)"
    reason = (error.reason or str(error)).lower().replace("_", " ")
    named = certificate if key is None else f"{certificate} and {key}"
    return f"{named}: {reason}"


def has_block(file: str, label: str) -> bool:
    """Does a PEM file have one of these?  A private key may have its kind before the label."""
    with open(file, "rb") as opened:
        data = opened.read(PEM_BYTES_MAX)
    return re.search(rb"-----BEGIN (?:[A-Z0-9]+ )*" + label.encode(), data) is not None


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    """OpenSSL would ask at the terminal, of each worker, at each reload."""
    raise _EncryptedKey


def differing(old: Settings, new: Settings) -> set[str]:
    """Settings whose values differ, by their names in the file."""
    return {
        field.name.replace("_", "-")
        for field in dataclasses.fields(Settings)
        if field.compare and getattr(old, field.name) != getattr(new, field.name)
    }
