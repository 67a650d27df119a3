"""Tables of results: for a terminal and for a page in Markdown, from the same lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from suite import results
from suite.columns import COLUMNS
from suite.figures import ratio
from suite.results import Document

OURS = "uring"
"""The model that a program gets by default: the others are compared with it."""
NOTHING = "-"
DISTURBED = " ~"


def cell_titles(cell: Document) -> list[str]:
    titles = [COLUMNS[name].title for name in cell["columns"]]
    at = cell["columns"].index(cell["primary"]) + 1
    return ["contender", *titles[:at], "±", f"/ {OURS}", *titles[at:]]


def cell_lines(cell: Document) -> Iterator[list[str]]:
    """One line for each contender; where it has no figures, its reason stands in their place."""
    ours = next((row for row in cell["rows"] if row["contender"] == OURS), None)
    for row in cell["rows"]:
        if row["reason"]:
            yield [row["contender"], row["reason"]]
        elif row["rounds"]:
            yield [name_text(row), *figure_texts(cell, row, ours)]


def name_text(row: Document) -> str:
    """The name, marked where somebody else used the cores in most rounds, despite a second try."""
    is_disturbed = results.disturbed_count(row) * 2 > len(row["rounds"])
    return f"{row['contender']}{DISTURBED if is_disturbed else ''}"


def figure_texts(cell: Document, row: Document, ours: Document | None) -> Iterator[str]:
    for name in cell["columns"]:
        found = results.figure(row, name)
        yield COLUMNS[name].text(found.median) if found else NOTHING
        if name == cell["primary"]:
            yield f"{found.share:.0%}" if found else NOTHING
            yield ratio_text(row, ours, name)


def ratio_text(row: Document, ours: Document | None, column: str) -> str:
    if ours is None:
        return NOTHING
    found = ratio(results.values(row, column), results.values(ours, column))
    return f"{found.median:.2f}" if found else NOTHING


def terminal_table(cell: Document) -> str:
    """The cell with its columns under each other."""
    titles = cell_titles(cell)
    lines = list(cell_lines(cell))
    whole = [line for line in [titles, *lines] if len(line) == len(titles)]
    widths = [max(len(line[at]) for line in whole) for at in range(len(titles))]
    widths[0] = max(len(line[0]) for line in [titles, *lines])
    return "\n".join(
        [f"{cell['name']}", *(f"  {aligned(line, widths)}" for line in [titles, *lines])]
    )


def aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first = line[0].ljust(widths[0])
    if len(line) != len(widths):
        return f"{first}  {' '.join(line[1:])}"
    rest = (text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))
    return "  ".join([first, *rest])


def markdown_table(document: Document) -> str:
    """The whole scenario as one table, cell after cell; a new one where the figures are others."""
    if not document["cells"]:
        return "Not measured."
    alike = itertools.groupby(document["cells"], key=lambda cell: ["cell", *cell_titles(cell)])
    return "\n\n".join("\n".join(markdown_lines(*group)) for group in alike)


def markdown_lines(titles: Sequence[str], cells: Iterable[Document]) -> Iterator[str]:
    yield markdown_line(titles)
    yield markdown_line(["---", "---"] + ["--:"] * (len(titles) - 2))
    for cell in cells:
        name = cell["name"]
        for line in cell_lines(cell):
            padding = [""] * (len(titles) - 1 - len(line))
            yield markdown_line([name, *map(escaped, line), *padding])
            name = ""


def markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
