"""LIST, NLST, MLSD, MLST, and STAT with a path: folders as text.

A folder is read whole before anything of it is sent, within `listing_entries_max`; a large one by a
thread, which makes the text as well: a name with its stat() is ten times as large as its line, and
the client may take its time.  What all clients of a worker have not taken yet has a bound.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from headrace.serve.ftp.arguments import BadArgument
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.data_tls import TlsSending
from headrace.serve.ftp.failures import reply_to_error
from headrace.serve.ftp.listing import (
    CHUNK_BYTES,
    Named,
    fact_chunks,
    fact_line,
    list_chunks,
    list_line,
    name_chunks,
    parse_list_argument,
    select,
)
from headrace.serve.ftp.naming import path_of, tree_of
from headrace.serve.ftp.replies import reply_lines
from headrace.serve.ftp.sending import ChunkSending
from headrace.serve.ftp.transfers import refuse_data
from headrace.serve.meters import Meter
from headrace.serve.tree import Entry
from headrace.serve.users import Rights

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS"]

# A folder of this size (st_size) has some hundred names on most file systems: reading it may take
# more than a millisecond.
LARGE_FOLDER_BYTES = 16 * 1024
# STAT answers on the control connection: that is for a look, and not for a mirror.
STAT_ENTRIES_MAX = 1_000
BUSY = "The server is busy; try again later."

Text = TypeVar("Text")
# Makes of the names, and what NLST has before them, what is kept of them; where they are read.
Make = Callable[[list[Named], str], Text]


def list_folder(session: Session, command: Command) -> None:
    if refuse_data(session, command):
        return

    def make(entries: list[Named], prefix: str) -> list[bytes]:
        return list(list_chunks(entries, time.time()))

    look(session, command, make, partial(send, session, command))


def list_names(session: Session, command: Command) -> None:
    if refuse_data(session, command):
        return

    def make(entries: list[Named], prefix: str) -> list[bytes]:
        return list(name_chunks(entries, prefix))

    look(session, command, make, partial(send, session, command))


def list_facts(session: Session, command: Command) -> None:
    """RFC 3659 section 7: of a folder only, and no patterns."""
    if refuse_data(session, command):
        return
    path = path_of(session, command.argument or ".")
    if not stat.S_ISDIR(tree_of(session).status(path).st_mode):
        session.answer(command, 501, "MLSD is for folders; use MLST.")
        return
    state = session.core.state
    facts, rights = state.facts, Rights(state.rights)

    def make(entries: list[Named], prefix: str) -> list[bytes]:
        return list(fact_chunks(entries, facts, rights))

    scan(session, command, path, None, "", make, partial(send, session, command))


def send(session: Session, command: Command, chunks: list[bytes]) -> None:
    worker = session.worker
    size = sum(map(len, chunks))
    if size <= CHUNK_BYTES:  # what the kernel takes at once
        size = 0
    held = worker.listings_bytes
    if held and size and held + size > worker.limits.listings_bytes_max:
        session.answer(command, 450, BUSY)
        return
    worker.site.meters.add(Meter.LISTINGS)
    kind = TlsSending if session.protects_data() else ChunkSending
    transfer = kind(session, command.verb, "", one_by_one(chunks))
    transfer.held_bytes = size
    session.begin(command, transfer)


def one_by_one(chunks: list[bytes]) -> Iterator[bytes]:
    """What has been taken is forgotten."""
    chunks.reverse()
    while chunks:
        yield chunks.pop()


def look(
    session: Session, command: Command, make: Make[Text], found: Callable[[Text], object]
) -> None:
    """What LIST, NLST and STAT mean by their argument: a folder's names, a file, a pattern."""
    try:
        stars_max = session.worker.limits.pattern_stars_max
        listed = parse_list_argument(command.argument, stars_max)
    except BadArgument as bad:
        session.answer(command, bad.code, bad.text)
        return
    tree = tree_of(session)
    path = path_of(session, listed.path or ".")
    prefix = listed.prefix
    try:
        status = tree.status(path)
    except FileNotFoundError:
        if listed.pattern is None:
            raise
        path = path_of(session, listed.folder or ".")
        scan(session, command, path, listed.pattern, prefix, make, found)
        return
    if stat.S_ISDIR(status.st_mode):
        folder = prefix if listed.pattern is None else f"{listed.path}/"
        scan(session, command, path, None, folder, make, found)
    else:
        found(make([Entry(listed.path, status)], ""))


def scan(
    session: Session,
    command: Command,
    path: str,
    pattern: str | None,
    prefix: str,
    make: Make[Text],
    found: Callable[[Text], object],
) -> None:
    """Read a folder, in a thread if it is large, and hand over what is made of the names that fit,
    which are sorted."""
    tree = tree_of(session)
    entries_max = session.worker.limits.listing_entries_max

    def read() -> Text:
        entries = select(tree.scan(path, entries_max), pattern)
        entries.sort(key=by_name)
        return make(entries, prefix)

    if tree.status(path).st_size < LARGE_FOLDER_BYTES:
        found(read())
        return

    def done(text: Text | None, error: BaseException | None) -> None:
        if text is not None:
            session.perform_later(command, lambda: found(text))
        elif isinstance(error, OSError):
            session.answer_later(command, *reply_to_error(error))
        else:
            session.answer_later(command, 451, "The folder cannot be read.")

    if not session.worker.in_thread(done, read):
        session.answer(command, 450, BUSY)


def by_name(entry: Named) -> str:
    return entry.name


def facts_of(session: Session, command: Command) -> None:
    """MLST (RFC 3659 section 7): one file or folder, on the control connection."""
    path = path_of(session, command.argument or ".")
    status = tree_of(session).status(path)
    state = session.core.state
    line = fact_line(path, status, state.facts, Rights(state.rights))
    session.send(command, reply_lines(250, "Listing", [line], "End"))


def status_of(session: Session, command: Command) -> None:
    """STAT with a path: as LIST, but in the answer (RFC 959 section 4.1.3)."""

    def make(entries: list[Named], prefix: str) -> list[str]:
        now_s = time.time()
        shown = entries[: STAT_ENTRIES_MAX + 1]
        return [list_line(entry.name, entry.status, now_s) for entry in shown]

    def found(lines: list[str]) -> None:
        if len(lines) > STAT_ENTRIES_MAX:
            session.answer(command, 450, f"More than {STAT_ENTRIES_MAX:,} names; use LIST.")
        else:
            session.send(command, reply_lines(213, "Status:", lines, "End"))

    look(session, command, make, found)


ACTIONS = {
    "LIST": list_folder,
    "NLST": list_names,
    "MLSD": list_facts,
    "MLST": facts_of,
}
