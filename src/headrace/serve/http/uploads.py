"""PUT: a file that comes in, whole or not at all (RFC 9110 section 9.3.4).

begin() and commit() may take as long as the disk does: they are for a thread.  take() writes into
the page cache.
"""

from __future__ import annotations

import os

from headrace.serve import paths
from headrace.serve.http import conditions
from headrace.serve.http.answers import Answer, text
from headrace.serve.http.core import Request
from headrace.serve.http.files import entity_tag
from headrace.serve.http.refusals import refusal
from headrace.serve.http.targets import quoted
from headrace.serve.tree import Tree, Upload
from headrace.serve.users import Rights, User

WRITING = Rights.CREATE | Rights.REPLACE


class TooLarge(Exception):
    """More bytes came than may: the status says whose limit it was."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Uploading:
    """One body on its way into a file."""

    __slots__ = ("_bytes_max", "_created", "_request", "_tree", "path", "received_bytes", "upload")

    def __init__(
        self, tree: Tree, path: str, request: Request, upload: Upload, *,
        created: bool, bytes_max: tuple[int, int, str] | None,
    ) -> None:  # fmt: skip
        self._tree = tree
        self._request = request
        self._created = created
        self._bytes_max = bytes_max
        self.path = path
        self.upload = upload
        self.received_bytes = 0

    def take(self, data: bytes) -> None:
        """Write them.  Raises OSError, TooLarge."""
        self.received_bytes += len(data)
        if self._bytes_max is not None and self.received_bytes > self._bytes_max[0]:
            raise TooLarge(*self._bytes_max[1:])
        view = memoryview(data)
        while view:
            view = view[os.write(self.upload.fd, view) :]

    def commit(self) -> Answer:
        """The file has its name: 201 or 204; or 412, where it has changed meanwhile.

        Raises OSError.
        """
        fields = self._request.fields
        if b"if-match" not in fields and b"if-unmodified-since" not in fields:
            return self._commit()
        if self.upload.waits_for_disk:
            os.fsync(self.upload.fd)  # the others need not wait for that as well
        with self.upload.folder_locked():
            # Once more: between the first look and now somebody else may have been here.
            failed = _failed_condition(self._tree, self.path, self._request)[0]
            if failed is None:
                return self._commit()
        self.upload.discard(keep_partial=False)
        return refusal(failed, "it has changed meanwhile", self._request)

    def _commit(self) -> Answer:
        tag = b"ETag: %b\r\n"
        fd = os.dup(self.upload.fd)
        try:
            self.upload.commit()
            tag %= entity_tag(os.fstat(fd))
        finally:
            os.close(fd)
        if not self._created:
            return Answer(204, tag)
        location = b"Location: %b\r\n" % quoted(self.path).encode("ascii")
        return text(201, "the file is there", tag + location)

    def discard(self) -> None:
        """A part of a PUT is never kept: nobody could go on with it."""
        self.upload.discard(keep_partial=False)


def begin(
    tree: Tree, user: User, path: str, request: Request, upload_bytes_max: int | None
) -> Uploading | Answer:
    """An upload, or why not.  Raises OSError."""
    failed, there = _failed_condition(tree, path, request)
    if failed is not None:
        return refusal(failed, "the condition does not hold", request)
    needed = Rights.CREATE if there is None else Rights.REPLACE
    if needed not in user.rights:
        return refusal(403, "you may not write there", request)
    bytes_max = _limit(tree, user, there, upload_bytes_max)
    if bytes_max is not None and (request.length_bytes or 0) > bytes_max[0]:
        return refusal(bytes_max[1], bytes_max[2], request)
    # Whoever may replace what is there may also replace what comes there meanwhile.
    must_be_new = b"if-none-match" in request.fields or Rights.REPLACE not in user.rights
    try:
        upload = tree.upload(path, exclusive=there is None and must_be_new)
    except (FileNotFoundError, NotADirectoryError):
        # RFC 4918 section 9.7.1: so clients know that the folder is what is missing.
        return refusal(409, f"there is no folder {paths.split(path)[0]}", request)
    return Uploading(
        tree, path, request, upload, created=there is None, bytes_max=bytes_max
    )  # fmt: skip


def _failed_condition(
    tree: Tree, path: str, request: Request
) -> tuple[int | None, os.stat_result | None]:
    try:
        there = tree.status(path)
    except (FileNotFoundError, NotADirectoryError):
        there = None
    tag = entity_tag(there) if there else None
    modified_s = int(there.st_mtime) if there else None
    return conditions.evaluate(request.method, request.fields, tag, modified_s), there


def _limit(
    tree: Tree, user: User, there: os.stat_result | None, upload_bytes_max: int | None
) -> tuple[int, int, str] | None:
    """So many bytes may come, and what to answer where more do."""
    limits: list[tuple[int, int, str]] = []
    if upload_bytes_max is not None:
        limits.append((upload_bytes_max, 413, "the file is too large"))
    if user.quota_bytes is not None:
        freed = there.st_size if there else 0
        left = max(user.quota_bytes - tree.usage_bytes() + freed, 0)
        limits.append((left, 507, "that is more than your quota leaves"))
    return min(limits) if limits else None
