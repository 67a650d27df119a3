"""A folder as a page: for people on any screen, without a script.

Sorting is a link, with `aria-sort` saying what it is now; a long folder has pages.  On a narrow
screen a row is a small card, still a table to who hears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headrace.serve import paths
from headrace.serve.http.html_text import plain, shown, size_text, time_text
from headrace.serve.http.style import LISTING
from headrace.serve.http.targets import quoted

ENTRIES_PER_PAGE = 1000
# So many pages around the present one are linked.
NEIGHBOURS = 3

ICONS = (
    '<svg hidden><symbol id="d" viewBox="0 0 24 24"><path d="M3 5.5A1.5 1.5 0 0 1 4.5 4h4.9l2.4 2.5'
    'h7.7A1.5 1.5 0 0 1 21 8v10.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 18.5z"/></symbol>'
    '<symbol id="f" viewBox="0 0 24 24"><path d="M6.5 2.5h7.2L19 7.8V20a1.5 1.5 0 0 1-1.5 1.5h-11'
    'A1.5 1.5 0 0 1 5 20V4a1.5 1.5 0 0 1 1.5-1.5zM13 4.3v4.2h4.2z"/></symbol></svg>'
)
FOLDER_ICON = '<svg aria-hidden="true"><use href="#d"/></svg>'
FILE_ICON = '<svg aria-hidden="true"><use href="#f"/></svg>'

COLUMNS = (("name", "Name", ""), ("size", "Size", "n"), ("date", "Modified", "n"))
# What a first click means: names from A, but the largest and the latest first.
FIRST_ORDER = {"name": "asc", "size": "desc", "date": "desc"}
OTHER_ORDER = {"asc": "desc", "desc": "asc"}
SPOKEN_ORDER = {"asc": "ascending", "desc": "descending"}


class Row(NamedTuple):
    """An entry as it is shown."""

    name: str
    kind: str  # "folder", "file", or "other": what cannot be opened
    size_bytes: int
    modified_s: float


class View(NamedTuple):
    """What of a folder is shown, and how."""

    path: str
    sort: str = "name"
    order: str = "asc"
    page: int = 1
    pages: int = 1
    folders: int = 0
    files: int = 0
    total_bytes: int = 0


def folder_page(view: View, rows: Sequence[Row]) -> str:
    """*rows* are those of the page that is shown, in order."""
    name = paths.split(view.path)[1]
    title = plain(name or "Files")
    body = "".join(map(_row, rows))
    if view.path != "/":
        parent = f'<a href="../">{FOLDER_ICON}<bdi>Parent folder</bdi></a>'
        body = (
            f'<tr role="row" class="d u"><td role="cell">{parent}</td><td></td><td></td></tr>{body}'
        )
    empty = "" if rows else '<p class="e">This folder is empty.</p>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{LISTING}</style></head><body>{ICONS}"
        f"<header>{_breadcrumbs(view.path)}<h1><bdi>{shown(name) or 'Files'}</bdi></h1></header>"
        f'<main><table role="table"><thead role="rowgroup"><tr role="row">{_headings(view)}</tr>'
        f'</thead><tbody role="rowgroup">{body}</tbody></table>{empty}{_pager(view)}</main>'
        f"<footer>{_summary(view)}</footer></body></html>\n"
    )


def _row(row: Row) -> str:
    name = shown(row.name)
    href = quoted(row.name)
    machine, people = time_text(row.modified_s)
    modified = f'<time datetime="{machine}" title="{machine}">{people}</time>'
    size = ""
    if row.kind == "folder":
        first = f'<a href="./{href}/">{FOLDER_ICON}<bdi>{name}/</bdi></a>'
    elif row.kind == "file":
        first = f'<a href="./{href}">{FILE_ICON}<bdi>{name}</bdi></a>'
        size = f'<span title="{row.size_bytes:,} bytes">{size_text(row.size_bytes)}</span>'
    else:
        first = f'<span class="l s">{FILE_ICON}<bdi>{name}</bdi></span>'
    kind = ' class="d"' if row.kind == "folder" else ""
    return (
        f'<tr role="row"{kind}><td role="cell">{first}</td><td role="cell" class="n">{size}</td>'
        f'<td role="cell" class="n">{modified}</td></tr>\n'
    )


def _breadcrumbs(path: str) -> str:
    """Each folder on the way; the present one stands below as the heading."""
    names = [name for name in path.split("/") if name]
    if not names:
        return ""
    items = ['<li><a href="/">Files</a></li>']
    for depth, name in enumerate(names[:-1], 1):
        href = quoted("/" + "/".join(names[:depth]) + "/")
        items.append(f'<li><a href="{href}"><bdi>{shown(name)}</bdi></a></li>')
    return f'<nav aria-label="Breadcrumbs"><ol>{"".join(items)}</ol></nav>'


def _headings(view: View) -> str:
    parts = []
    for sort, title, css in COLUMNS:
        present = sort == view.sort
        order = OTHER_ORDER[view.order] if present else FIRST_ORDER[sort]
        spoken = f' aria-sort="{SPOKEN_ORDER[view.order]}"' if present else ""
        arrow = ("▴" if view.order == "asc" else "▾") if present else ""
        parts.append(
            f'<th role="columnheader" scope="col" class="{css}"{spoken}>'
            f'<a href="?sort={sort}&amp;order={order}">{title}'
            f'<u aria-hidden="true">{arrow}</u></a></th>'
        )
    return "".join(parts)


def _pager(view: View) -> str:
    if view.pages == 1:
        return ""
    near = range(view.page - NEIGHBOURS, view.page + NEIGHBOURS + 1)
    parts = []
    before = 0
    for page in sorted({1, view.pages, *near} & set(range(1, view.pages + 1))):
        if page > before + 1:
            parts.append("<span>…</span>")
        before = page
        if page == view.page:
            parts.append(f'<b aria-current="page">{page:,}</b>')
        else:
            href = f"?sort={view.sort}&amp;order={view.order}&amp;page={page}"
            parts.append(f'<a href="{href}" aria-label="Page {page:,}">{page:,}</a>')
    return f'<nav class="p" aria-label="Pages">{"".join(parts)}</nav>'


def _summary(view: View) -> str:
    parts = []
    if view.folders:
        parts.append(f"{view.folders:,} folder{'' if view.folders == 1 else 's'}")
    if view.files:
        size = size_text(view.total_bytes)
        parts.append(
            f"{view.files:,} file{'' if view.files == 1 else 's'}, "
            f'<span title="{view.total_bytes:,} bytes">{size}</span>'
        )
    parts.append("times in UTC")
    return " · ".join(parts)
