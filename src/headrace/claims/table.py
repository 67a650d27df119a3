"""The result as a table for a terminal, a pipe or a file; and the list of the claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from headrace.claims.claim import DEPENDS, FAILED, HOLDS, REFUTED, UNDECIDED
from headrace.claims.report import Row, count_line, groups, where
from headrace.lab.table import GAP, wrapped

INDENT = "  "
STYLES = {HOLDS: "green", REFUTED: "red", DEPENDS: "yellow", UNDECIDED: "dim", FAILED: "bold red"}
NEVER_FIRST = "”，。、；：？！）"
"""No line begins with these."""
NUMBER_COLUMNS_MIN = 34
"""With less room than this for it, the number goes below the verdict."""
FULL_MAX = 8
"""So many claims chosen by name are shown with all there is to say about them."""

Line = tuple[str, str]
"""A line and its style."""


def table_lines(
    rows: Sequence[Row], title: str, footer: str, columns: int | None, *, full: bool
) -> Iterator[Line]:
    """Verdict and number of each, for so many columns or without a limit."""
    yield from ((line, "bold") for line in wrapped(title, columns))
    name_columns = max(len(row["name"]) for row in rows)
    for group, members in groups(rows).items():
        yield "", ""
        yield from ((line, "bold") for line in wrapped(group, columns))
        for row in members:
            yield from row_lines(row, name_columns, columns)
            if full:
                yield from details(row, columns)
    yield "", ""
    yield from ((line, "") for line in wrapped(count_line(rows), columns))
    yield from ((line, "dim") for line in wrapped(footer, columns))


def row_lines(row: Row, name_columns: int, columns: int | None) -> Iterator[Line]:
    verdict = row["verdict"]
    style = STYLES[verdict]
    # The long verdicts are rare: room for them in each line would be taken from the numbers.
    head = f"{INDENT}{row['name'].ljust(name_columns)}{GAP}{verdict.ljust(len(REFUTED))}{GAP}"
    under = " " * (len(INDENT) + name_columns + len(GAP) + len(REFUTED) + len(GAP))
    if columns is not None and columns - len(under) < NUMBER_COLUMNS_MIN:
        under = INDENT * 2
        if cell_len(head.rstrip()) > columns:
            yield f"{INDENT}{row['name']}", style
            head = under + verdict
        yield head.rstrip(), style
        yield from ((line, "") for line in wrapped(row["number"], columns, under, under))
        return
    lines = wrapped(row["number"], columns, head, under)
    yield lines[0], style
    yield from ((line, style) for line in lines[1:])


def details(row: Row, columns: int | None) -> Iterator[Line]:
    """The sentence, what it says, where it stands, and how to read the number."""
    under = INDENT * 2
    texts = (f"“{row['sentence']}”", f"“{row['english']}”, {where(row)}", row["reading"])
    for text in texts:
        yield from ((line, "dim") for line in wrapped_wide(text, columns, under))


def wrapped_wide(words: str, columns: int | None, indent: str) -> list[str]:
    """As ``wrapped``, for text with characters of two columns and no blanks between them."""
    if columns is None:
        return [indent + words]
    lines, line = [], indent
    for piece in pieces(words):
        if cell_len(line) + cell_len(piece.rstrip()) > max(columns, 20) and line.strip():
            lines.append(line.rstrip())
            line = indent
            piece = piece.lstrip()
        line += piece
    return [*lines, line.rstrip()]


def pieces(words: str) -> Iterator[str]:
    """What must not be cut: a wide character by itself, a word with the blanks behind it."""
    word = ""
    for character in words:
        is_new = cell_len(character) > 1 or cell_len(word[-1:]) > 1 or word[-1:] == " "
        if word and is_new and character not in NEVER_FIRST:
            yield word
            word = ""
        word += character
    yield word


def list_lines(claims: Sequence[Mapping[str, Any]], columns: int | None) -> Iterator[Line]:
    """Name and sentence of each."""
    name_columns = max(len(one["name"]) for one in claims)
    under = " " * (len(INDENT) + name_columns + len(GAP))
    if columns is not None and columns - len(under) < NUMBER_COLUMNS_MIN:
        under = INDENT * 2
    for group, members in groups(claims).items():
        yield group, "bold"
        for one in members:
            head = f"{INDENT}{one['name'].ljust(name_columns)}{GAP}"
            if len(under) < len(head):
                yield head.rstrip(), ""
                head = under
            yield from ((line, "") for line in wrapped(one["english"], columns, head, under))


def print_lines(console: Console, lines: Iterator[Line]) -> None:
    """Prints what was laid out; a file gets no colour codes."""
    for line, style in lines:
        # Text, soft_wrap: what we have laid out is neither marked up, cut nor wrapped again.
        console.print(Text(line, style=style if console.is_terminal else ""), soft_wrap=True)
