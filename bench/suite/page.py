"""bench/RESULTS.md: the bars, then a table for each scenario, made of bench/results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite import bars, results
from suite.columns import COLUMNS
from suite.environment import BENCH
from suite.goals import goals
from suite.render import markdown_line, markdown_table
from suite.results import Document

PATH = BENCH / "RESULTS.md"
INTRODUCTION = """\
# Results

Made by `bench/run` of the raw data in `bench/results/`; how to repeat it, and what each scenario
is, stands in [README.md](README.md).  Only ratios from one run count: a machine's speed drifts by
tens of percent.  Each figure is the median of the rounds; ± is half the distance of their
quartiles.  A ratio is the median of the ratios of each round: the contender's figure over that of
`uring`, headrace's default model, so above 1 is in our favour.  A contender that failed has its
reason in place of figures; a ~ marks one whose core somebody else used in most rounds."""
NOTES = "notes.md"
"""In the folder of results: what was tried where a bar is missed, and what limits it."""


def write(path: Path = PATH) -> None:
    notes = results.FOLDER / NOTES
    text = notes.read_text() if notes.is_file() else ""
    path.write_text(text_of(results.read_all(), text))


def text_of(documents: Sequence[Document], notes: str = "") -> str:
    parts = [INTRODUCTION, bars_text(documents), notes.strip(), *map(scenario_text, documents)]
    return "\n\n".join(part for part in parts if part) + "\n"


def bars_text(documents: Sequence[Document]) -> str:
    lines = [
        markdown_line(["scenario", "bar", "found", "", "decided by"]),
        markdown_line(["---", "---", "--:", "---", "---"]),
    ]
    for bar in goals():
        finding = bars.judge(bar, documents)
        figure = figure_text(finding.figure.median) if finding.figure else ""
        lines.append(
            markdown_line([bar.what, bar.words, figure, finding.verdict, finding.decided_by])
        )
    return "## The bars\n\n" + "\n".join(lines)


def figure_text(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3f}"


def scenario_text(document: Document) -> str:
    used = dict.fromkeys(name for cell in document["cells"] for name in cell["columns"])
    meanings = "; ".join(f"*{COLUMNS[name].title}*: {COLUMNS[name].meaning}" for name in used)
    return (
        f"## {document['scenario']}: {document['summary']}\n\n"
        f"{document['machine']}; {document['time']}; {document['rounds']} rounds;"
        f" {versions_text(document)}.\n\n"
        f"{markdown_table(document)}\n\n{meanings}."
    )


def versions_text(document: Document) -> str:
    """Who took part, each with its version."""
    found = {
        row["contender"]: row["version"]
        for cell in document["cells"]
        for row in cell["rows"]
        if row["version"] and not row["reason"]
    }
    return ", ".join(f"{name} {version}" for name, version in found.items())
