"""HASH: a file's digest (draft-bryan-ftpext-hash), made by a thread, within `hash_bytes_max`.

The threads are few and make nothing else, and an address has one digest made at a time, whatever
it has of connections: else forty HASH of a large file keep everybody's listings and logins waiting.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import TYPE_CHECKING, Protocol

from headrace.serve.ftp.core import Command
from headrace.serve.ftp.naming import path_of, tree_of
from headrace.serve.gate import address_key

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ACTIONS"]

READ_BYTES = 1024 * 1024


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Crc32:
    """zlib's, as hashlib has its own."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def digest_of(name: str) -> Digest:
    if name == "CRC32":
        return Crc32()
    # Of files, and as checksums: whoever asks for MD5 has been told what it is good for.
    return hashlib.new(name.replace("SHA-1", "sha1").replace("-", ""), usedforsecurity=False)


def digest_file(fd: int, name: str, begin: int, end: int, stop: list[bool]) -> str | None:
    """Of the bytes from *begin* up to *end*, unless it is stopped; closes *fd*."""
    digest = digest_of(name)
    try:
        while begin < end:
            if stop[0]:
                return None
            data = os.pread(fd, min(READ_BYTES, end - begin), begin)
            if not data:
                break
            digest.update(data)
            begin += len(data)
    finally:
        os.close(fd)
    return digest.hexdigest()


def hash_file(session: Session, command: Command) -> None:
    worker = session.worker
    key = address_key(session.address)
    if key in worker.hashing:
        session.answer(command, 450, "One HASH at a time for each address; try again later.")
        return
    state = session.core.state
    path = path_of(session, command.argument)
    name = state.hash_name
    fd = tree_of(session).open_file(path)
    size = os.fstat(fd).st_size
    begin, end = 0, size
    if state.range is not None:
        begin, end = state.range.first, min(state.range.last + 1, size)
    if begin > size:
        os.close(fd)
        session.answer(command, 551, f"The file has {size} bytes.")
        return
    limit = worker.limits.hash_bytes_max
    if limit is not None and end - begin > limit:
        os.close(fd)
        session.answer(command, 552, f"More than {limit} bytes are not hashed.")
        return
    stop = session.stop_job = [False]

    def done(digest: str | None, error: BaseException | None) -> None:
        worker.hashing.discard(key)
        if session.stop_job is stop:
            session.stop_job = None
        if digest is None:
            session.answer_later(command, 551, "The file cannot be read.")
        else:
            last = max(end - 1, 0)
            session.answer_later(command, 213, f"{name} {begin}-{last} {digest} {path}")

    arguments = fd, name, begin, end, stop
    if worker.in_thread(done, digest_file, *arguments, pool=worker.digests):
        worker.hashing.add(key)
    else:
        os.close(fd)
        session.stop_job = None
        session.answer(command, 450, "The server is busy; try again later.")


ACTIONS = {"HASH": hash_file}
