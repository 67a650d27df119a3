"""A folder as an answer: a page for people, JSON for programs (`Accept: application/json`).

For a thread: many names take long.  Either has pages: what a client does not read waits in memory,
and fifty thousand names are a dozen megabytes.
"""

from __future__ import annotations

import json
import re
import stat

from headrace.serve.http import pages, targets
from headrace.serve.http.answers import NOSNIFF, Answer
from headrace.serve.http.core import Request
from headrace.serve.http.html_text import time_text
from headrace.serve.http.pages import ENTRIES_PER_PAGE, FIRST_ORDER, Row, View
from headrace.serve.http.refusals import page_fields
from headrace.serve.http.style import LISTING
from headrace.serve.http.targets import Target, quoted
from headrace.serve.tree import Entry, Tree

DIGITS = re.compile(r"\d+")
# Numbers in names are compared as numbers up to so many digits.
DIGITS_MAX = 20
VARY = b"Vary: Accept\r\n"
JSON_FIELDS = b"Content-Type: application/json\r\nCache-Control: no-cache\r\n" + NOSNIFF


def answer_listing(tree: Tree, target: Target, request: Request, entries_max: int) -> Answer:
    """Raises OSError; TooManyEntries among them."""
    asked = targets.parameters(target.query)
    sort = asked.get("sort", "name")
    sort = sort if sort in FIRST_ORDER else "name"
    order = asked.get("order", "")
    order = order if order in ("asc", "desc") else FIRST_ORDER[sort]
    rows = [_row(entry) for entry in tree.scan(target.path, entries_max)]
    _arrange(rows, sort, order)
    count = max(-(-len(rows) // ENTRIES_PER_PAGE), 1)
    page = _page_number(asked.get("page", ""), count)
    begin = (page - 1) * ENTRIES_PER_PAGE
    shown = rows[begin : begin + ENTRIES_PER_PAGE]
    if wants_json(request):
        return _as_json(View(target.path, sort, order, page, count), shown)
    files = [row for row in rows if row.kind == "file"]
    view = View(
        target.path, sort, order, page, count,
        folders=sum(row.kind == "folder" for row in rows),
        files=len(files), total_bytes=sum(row.size_bytes for row in files),
    )  # fmt: skip
    text = pages.folder_page(view, shown)
    return Answer(200, page_fields(LISTING) + VARY, text.encode("utf-8", "replace"))


def wants_json(request: Request) -> bool:
    """Is JSON asked for by name, and no page?"""
    accept = request.fields.get(b"accept", b"").lower()
    return b"application/json" in accept and b"text/html" not in accept


def _row(entry: Entry) -> Row:
    status = entry.status
    if stat.S_ISDIR(status.st_mode):
        kind = "folder"
    else:
        kind = "file" if stat.S_ISREG(status.st_mode) else "other"
    return Row(entry.name, kind, status.st_size if kind == "file" else 0, status.st_mtime)


def _arrange(rows: list[Row], sort: str, order: str) -> None:
    """Folders first, whatever the order; where sizes or dates are equal, by name."""
    rows.sort(key=_natural)
    backwards = order == "desc"
    if sort == "size":
        rows.sort(key=lambda row: row.size_bytes, reverse=backwards)
    elif sort == "date":
        rows.sort(key=lambda row: row.modified_s, reverse=backwards)
    elif backwards:
        rows.reverse()
    rows.sort(key=lambda row: row.kind != "folder")


def _natural(row: Row) -> str:
    """So that "page 9" comes before "page 10", and case does not matter."""
    return DIGITS.sub(lambda match: match[0].zfill(DIGITS_MAX), row.name.casefold())


def _page_number(text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return 1
    return min(max(int(text), 1), count)


def _as_json(view: View, rows: list[Row]) -> Answer:
    """One page of several; RFC 8288 is how a program finds the next.

    Names that are no UTF-8 have their bytes in `href`, percent-encoded, as all have.
    """
    entries = [
        {
            "name": row.name,
            "href": quoted(row.name) + ("/" if row.kind == "folder" else ""),
            "type": row.kind,
            "size": row.size_bytes if row.kind == "file" else None,
            "modified": time_text(row.modified_s)[0],
        }
        for row in rows
    ]
    told = {"path": view.path, "page": view.page, "pages": view.pages, "entries": entries}
    link = ""
    if view.page < view.pages:
        query = f"?sort={view.sort}&order={view.order}&page={view.page + 1}"
        link = f'Link: <{query}>; rel="next"\r\n'
    fields = JSON_FIELDS + VARY + link.encode("ascii")
    return Answer(200, fields, json.dumps(told).encode("ascii") + b"\n")
