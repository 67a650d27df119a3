"""What the system's errors are to a client: a status, and words that give nothing away."""

from __future__ import annotations

import base64
import errno
import hashlib
import html
from functools import lru_cache
from http import HTTPStatus

from headrace.serve.http.answers import Answer, text
from headrace.serve.http.core import Request

NOT_FOUND = (404, "there is no such file or folder")
FORBIDDEN = (403, "that is not allowed")
BUSY = (503, "the server is busy; try again later")
NO_SPACE = (507, "there is no room for it")

STATUSES = {
    errno.ENOENT: NOT_FOUND,
    errno.ENOTDIR: NOT_FOUND,
    errno.ENAMETOOLONG: NOT_FOUND,
    errno.ELOOP: NOT_FOUND,
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    # openat2(RESOLVE_BENEATH): a link that leads out of the tree.
    errno.EXDEV: FORBIDDEN,
    errno.EROFS: FORBIDDEN,
    errno.EISDIR: (409, "that is a folder"),
    errno.EEXIST: (412, "there is such a file already"),
    errno.EOVERFLOW: (403, "the folder has too many names to be listed"),
    errno.EMFILE: BUSY,
    errno.ENFILE: BUSY,
    errno.ENOMEM: BUSY,
    errno.EAGAIN: BUSY,
    errno.EBUSY: BUSY,
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EFBIG: (413, "the file is too large"),
}
UNEXPECTED = (500, "the server could not do it")

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style>
<main><h1>{title}</h1><p>{message}</p><p><a href="/">To the first folder</a></p></main></html>
"""
STYLE = (
    ":root{color-scheme:light dark}body{font:1.05rem/1.6 system-ui,sans-serif;margin:12vh auto;"
    "max-width:36rem;padding:0 1.25rem}h1{font-size:1.5rem}"
)


def is_unexpected(error: OSError) -> bool:
    """Is it worth a line in the log of what goes wrong here?"""
    return error.errno not in STATUSES


def of_error(error: OSError, request: Request) -> Answer:
    status, message = STATUSES.get(error.errno or 0, UNEXPECTED)
    return refusal(status, message, request)


def refusal(status: int, message: str, request: Request, fields: bytes = b"") -> Answer:
    """As a page for people, who come with a browser; in plain words for all others."""
    if b"text/html" not in request.fields.get(b"accept", b"").lower():
        return text(status, message, fields)
    title = f"{status} {HTTPStatus(status).phrase}"
    page = PAGE.format(title=html.escape(title), message=html.escape(message), style=STYLE)
    return Answer(status, page_fields(STYLE) + fields, page.encode("utf-8", "replace"))


def page_fields(style: str) -> bytes:
    """The header fields of a page of ours: nothing may be loaded or run but its own *style*."""
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return (
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Security-Policy: {policy}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: same-origin\r\n"
        "Cache-Control: no-cache\r\n"
    ).encode("ascii")


@lru_cache
def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
