"""The commands that have a data connection: RETR, STOR, APPE, STOU, LIST, NLST, MLSD.

What can be refused is refused before 150: a client that has been told 150 waits for bytes.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from headrace.serve import paths
from headrace.serve.ftp.ascii import lines_of
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.data_tls import TlsReceiving, TlsSending, file_chunks
from headrace.serve.ftp.failures import reply_to_error
from headrace.serve.ftp.naming import path_of, tree_of
from headrace.serve.ftp.receiving import Receiving, SocketReceiving
from headrace.serve.ftp.sending import ChunkSending, FileSending
from headrace.serve.ftp.transfer import Transfer
from headrace.serve.upload import Upload
from headrace.serve.users import Rights

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS"]

# RFC 959 section 4.1.3: the name of STOU is "unique to that directory".
UNIQUE_NAME_TRIES_MAX = 16
# What an upload goes on behind is copied (upload.py): so much in no time, more by a thread.
COPY_BYTES_INLINE_MAX = 256 * 1024


def refuse_data(session: Session, command: Command) -> bool:
    """Answer a transfer for which no data connection was agreed on, or not the right one."""
    if session.site.settings.tls_required and not session.protects_data():
        session.answer(command, 522, "Data connections must be encrypted: PROT P.")
    elif session.draining:
        session.answer(command, 421, "The server is closing down.")
        session.finish()
    elif session.rendezvous is None:
        session.answer(command, 425, "PASV or PORT first.")
    else:
        return False
    return True


def retrieve(session: Session, command: Command) -> None:
    """RFC 959 section 4.1.3; from an offset after REST (RFC 3659 section 5), a part after RANG."""
    if refuse_data(session, command):
        return
    state = session.core.state
    path = path_of(session, command.argument)
    file = tree_of(session).open_file(path)
    try:
        size = os.fstat(file).st_size
        begin, end = state.restart_offset, size
        if state.range is not None:
            begin, end = state.range.first, min(state.range.last + 1, size)
        if begin > size:
            # RFC 3659 section 5.3: a marker beyond the file's end.
            session.answer(command, 554, f"The file has {size} bytes.")
            os.close(file)
            return
        transfer = sending(session, command.verb, path, file, begin, end)
    except BaseException:
        os.close(file)
        raise
    session.begin(command, transfer)


def sending(session: Session, verb: str, path: str, file: int, begin: int, end: int) -> Transfer:
    """The cheapest way to send a part of a file, given type and protection."""
    if session.core.state.type == "A":
        chunks = part(lines_of(file), begin) if begin else lines_of(file)
        if session.protects_data():
            return TlsSending(session, verb, path, chunks, file)
        return ChunkSending(session, verb, path, chunks, file)
    if session.protects_data():
        chunks = file_chunks(file, begin, end)
        return TlsSending(session, verb, path, chunks, file, begin, end)
    return FileSending(session, verb, path, file, begin, end)


def part(chunks: Iterator[bytes], skip: int) -> Iterator[bytes]:
    """All but the first *skip* bytes: of TYPE A a marker counts the bytes that are transferred."""
    for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
            yield from chunks
            return
        skip -= len(chunk)
        yield b""


def store(session: Session, command: Command) -> None:
    """STOR: a new file, in place of what has the name; after REST the first bytes are kept."""
    if not refuse_data(session, command):
        state = session.core.state
        begin = state.range.first if state.range is not None else state.restart_offset
        upload(session, command, path_of(session, command.argument), offset=begin)


def append(session: Session, command: Command) -> None:
    """APPE: what comes stands behind what is there."""
    if not refuse_data(session, command):
        upload(session, command, path_of(session, command.argument), append=True)


def store_unique(session: Session, command: Command) -> None:
    """STOU: a name that nobody has; 150 says which (RFC 1123 section 4.1.2.9), and 226 too."""
    if refuse_data(session, command):
        return
    folder = session.core.state.folder
    wanted = path_of(session, command.argument) if command.argument else ""
    stem = wanted or paths.join(folder, "upload")
    for number in range(UNIQUE_NAME_TRIES_MAX):
        path = wanted if wanted and not number else f"{stem}.{secrets.token_hex(4)}"
        try:
            tree_of(session).status(path)
        except FileNotFoundError:
            upload(session, command, path, unique=True)
            return
    session.answer(command, 450, "No free name was found; try again.")


class Wanted(NamedTuple):
    """An upload that the rights allow."""

    session: Session
    command: Command
    path: str
    offset: int
    append: bool
    unique: bool
    """STOU: the reply names it."""
    exclusive: bool
    """Never to replace anything, not even what comes meanwhile."""
    copied_bytes: int
    """What is there already, and stays: to be copied before the client's bytes."""


def upload(
    session: Session,
    command: Command,
    path: str,
    *,
    offset: int = 0,
    append: bool = False,
    unique: bool = False,
) -> None:
    """Refuse what the rights do not allow, ask for the quota if there is one, and begin."""
    state = session.core.state
    if state.type == "A" and offset:
        session.answer(command, 550, "An upload goes on in TYPE I only.")
        return
    size = size_of(session, path)
    needed = Rights.CREATE if size is None else Rights.REPLACE
    if not state.has(needed):
        what = "replaced" if needed is Rights.REPLACE else "made"
        session.answer(command, 550, f"Permission denied: no file may be {what}.")
        return
    exclusive = unique or not state.has(Rights.REPLACE)
    copied = (size or 0) if append else offset
    limit = session.worker.limits.upload_bytes_max
    if limit is not None:
        # Of the file as it will be, or APPE makes one of any size, piece by piece.
        limit -= copied
        if limit < 0:
            session.answer(command, 552, "No file may become as large as that.")
            return
    wanted = Wanted(session, command, path, offset, append, unique, exclusive, copied)
    user = state.user
    if user is None or user.quota_bytes is None:
        begin(wanted, limit)
    else:
        within_quota(session, command, user.quota_bytes, limit, partial(begin, wanted))


def begin(wanted: Wanted, bytes_max: int | None) -> None:
    """Make the temporary; in a thread, where much has to be copied into it."""
    session, command = wanted.session, wanted.command
    make = partial(
        tree_of(session).upload,
        wanted.path,
        offset=wanted.offset,
        append=wanted.append,
        exclusive=wanted.exclusive,
    )
    if wanted.copied_bytes <= COPY_BYTES_INLINE_MAX:
        start(wanted, bytes_max, make())
        return

    def made(upload: Upload | None, error: BaseException | None) -> None:
        if upload is None:
            failed = (
                error if isinstance(error, OSError) else OSError(errno.EIO, os.strerror(errno.EIO))
            )
            session.answer_later(command, *reply_to_error(failed))
        elif session.closing or session.core.running is not command:
            upload.discard(keep_partial=False)
        else:
            session.perform_later(command, lambda: start(wanted, bytes_max, upload))

    if not session.worker.in_thread(made, make):
        session.answer(command, 450, "The server is busy; try again later.")


def start(wanted: Wanted, bytes_max: int | None, made: Upload) -> None:
    """The transfer, into that temporary."""
    session = wanted.session
    kind = TlsReceiving if session.protects_data() else SocketReceiving
    name = paths.split(wanted.path)[1]
    text = f"Transfer complete; unique file name: {name}" if wanted.unique else "Transfer complete."
    transfer: Receiving = kind(
        session,
        wanted.command.verb,
        wanted.path,
        made,
        bytes_max=bytes_max,
        text=session.core.state.type == "A",
        reply_text=text,
        begin_text=f"FILE: {name}" if wanted.unique else None,
    )
    session.begin(wanted.command, transfer)


def size_of(session: Session, path: str) -> int | None:
    """None: there is nothing of that name."""
    try:
        return tree_of(session).status(path).st_size
    except FileNotFoundError:
        return None


def within_quota(
    session: Session,
    command: Command,
    quota_bytes: int,
    limit: int | None,
    begin: Callable[[int | None], None],
) -> None:
    """Have a thread add up what the home holds; what is left of the quota is the upload's limit.

    A file that is replaced counts until it has been: both lie on the disk.
    """

    def counted(used: int | None, error: BaseException | None) -> None:
        if session.closing or session.core.running is not command:
            return
        if used is None:
            session.answer_later(command, 451, "The quota cannot be looked at.")
            return
        left = quota_bytes - used
        if left <= 0:
            session.answer_later(command, 552, "The quota is used up.")
            return
        session.perform_later(command, lambda: begin(left if limit is None else min(left, limit)))

    if not session.worker.in_thread(counted, tree_of(session).usage_bytes):
        session.answer(command, 450, "The server is busy; try again later.")


ACTIONS = {
    "RETR": retrieve,
    "STOR": store,
    "APPE": append,
    "STOU": store_unique,
}
