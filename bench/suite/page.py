"""bench/RESULTS.md: the bars, then a table for each scenario, made of bench/results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite import results
from suite.columns import COLUMNS
from suite.environment import BENCH
from suite.render import markdown_table
from suite.results import Document

PATH = BENCH / "RESULTS.md"


def write(path: Path = PATH) -> None:
    path.write_text(text_of(results.read_all()))


def text_of(documents: Sequence[Document]) -> str:
    parts = ["# Results"]
    for document in documents:
        parts.append(scenario_text(document))
    return "\n\n".join(parts) + "\n"


def scenario_text(document: Document) -> str:
    used = dict.fromkeys(name for cell in document["cells"] for name in cell["columns"])
    meanings = "; ".join(f"*{COLUMNS[name].title}*: {COLUMNS[name].meaning}" for name in used)
    return (
        f"## {document['scenario']}: {document['summary']}\n\n"
        f"{document['machine']}; {document['time']}; {document['rounds']} rounds.\n\n"
        f"{markdown_table(document)}\n\n{meanings}."
    )
