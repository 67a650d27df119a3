"""The table keeps every digit, mark and name whole, however narrow the terminal."""

import io

import pytest
from rich.console import Console
from rows import a_row, a_row_without_figures

from headrace.lab.columns import COLUMNS, cell
from headrace.lab.table import print_result

REASON = "errors: 12,345 wrong bytes, 3 reset by the server (first: 404)"
ROWS = [
    a_row("nonblocking"),
    a_row("epoll-edge", notes=["unsteady: requests/s spread over 67%"]),
    a_row("uring", trusted=False, notes=["1 of 3 rounds had errors: 3 wrong bytes"], errors=3),
    a_row_without_figures("select", REASON),
]
MODELS = [row["model"] for row in ROWS]
SPREAD = "±12%"


def shown(columns: int | None, rows: list = ROWS) -> list[str]:
    """The lines on a terminal of so many columns; None for a file."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=columns or 40,
        force_terminal=columns is not None,
        color_system=None,
        legacy_windows=False,
    )
    print_result(console, rows, "a title " * 8, "the machine " * 8)
    return file.getvalue().splitlines()


def line_of(model: str, lines: list[str]) -> str:
    return next(line for line in lines if line.startswith(model))


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_table_fits_the_terminal(columns):
    assert max(map(len, shown(columns))) <= columns


@pytest.mark.parametrize("columns", [20, 60, 80, 100, 140, None])
def test_table_cuts_no_name_mark_or_digit(columns):
    lines = shown(columns)
    names = [column.name for column in COLUMNS if column.name in lines_head(lines)]
    assert "requests" in names
    for row, sign in zip(ROWS[:3], " *!", strict=True):
        first, *rest = line_of(row["model"], lines).replace(SPREAD, "").replace("±8%", "").split()
        assert first == row["model"]
        texts = [cell(one, row, with_spread=False) for one in COLUMNS if one.name in names]
        assert rest == ([sign] if sign != " " else []) + texts
    assert "…" not in "".join(lines)


def lines_head(lines: list[str]) -> list[str]:
    return line_of("model", lines).split()


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        (60, ["±", "RSS", "errors", "p99.9"]),
        (80, ["±", "RSS"]),
        (100, []),
        (140, []),
        (None, []),
    ],
)
def test_table_leaves_out_the_least_important_columns_and_says_so(columns, missing):
    lines = shown(columns)
    text = " ".join(line.strip() for line in lines)
    head = lines_head(lines)
    assert [one.name for one in COLUMNS if one.name not in head] == [
        one.name for one in COLUMNS if one.name in missing
    ]
    assert (SPREAD in text) == ("±" not in missing)
    assert ("left out for want of room: ±" in text) == bool(missing)
    assert ("or --json shows them" in text) == bool(missing)


def test_table_names_the_width_at_which_nothing_is_left_out():
    text = " ".join(line.strip() for line in shown(60))
    width = int(text.partition("a terminal of ")[2].split()[0])
    assert "for want of room" not in "".join(shown(width))
    assert "for want of room" in "".join(shown(width - 1))


@pytest.mark.parametrize("columns", [60, 80, None])
def test_table_has_the_reason_in_place_of_figures(columns):
    lines = shown(columns)
    start = next(at for at, line in enumerate(lines) if line.startswith("select"))
    words = " ".join(line.strip() for line in lines[start : lines.index("", start)])
    assert words == f"select      !  {REASON}"
    assert "".join(lines).count("12,345") == 1


def test_table_shows_a_percentile_without_samples_as_missing():
    row = a_row(latency_us={"p50": 50.0, "p99": 60.0, "p999": None})
    figures = line_of("uring", shown(None, [row])).split()
    assert figures[3:6] == ["50.0", "60.0", "–"]


def test_table_has_one_line_for_many_disturbed_rows_and_names_them():
    rows = [a_row(name, notes=["disturbed: by others"]) for name in ("poll", "epoll", "uring")]
    text = "\n".join(shown(None, [*rows, a_row("select")]))
    assert "* poll, epoll, uring (3 of 4): the machine was busy" in text
    assert "by others" not in text


@pytest.mark.parametrize(
    ("rows", "legend"),
    [
        ([a_row("epoll")], ""),
        ([a_row("epoll"), a_row("poll", notes=["unsteady: x"])], "* means good, with a doubt"),
        (
            [a_row("epoll"), a_row_without_figures("select", "no")],
            "! means rounds were left out (all of them where there are no figures)",
        ),
        (ROWS, "! means rounds were left out (all of them where there are no figures); * means"),
    ],
    ids=["none", "doubt", "spoiled", "both"],
)
def test_table_explains_the_marks_that_occur(rows, legend):
    found = [line for line in shown(None, rows) if " means " in line]
    assert len(found) == bool(legend)
    assert "".join(found).startswith(legend)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["perf raw_syscalls:sys_enter"], None),
        (["loop statistics"], "; those of headrace's models are their loops' own count"),
        (["loop statistics", None], "; those of headrace's models are their loops' own count; –"),
        ([None], "; – is unknown"),
    ],
    ids=str,
)
def test_table_says_who_counted_the_system_calls(sources, words):
    rows = [a_row(f"row{at}", syscalls_source=source) for at, source in enumerate(sources)]
    lines = shown(None, [*rows, a_row_without_figures("select", "no")])
    found = [line.partition("CAP_PERFMON)")[2] for line in lines if line.startswith("syscalls: ")]
    assert [line.startswith(words) for line in found] == [True] * (words is not None)


def test_table_without_the_system_calls_says_nothing_of_them():
    assert "CAP_PERFMON" not in "".join(shown(45, [a_row(syscalls_source=None)]))
    assert "CAP_PERFMON" in "".join(shown(140, [a_row(syscalls_source=None)]))


def test_table_calls_the_command_as_it_is_so():
    plain = a_row("asyncio", kind="plain", notes=["COMMAND has loaded uvloop: x"])
    lines = shown(None, [a_row("uring"), plain])
    assert line_of("as it is", lines).split()[:4] == ["as", "it", "is", "*"]
    assert "* as it is: COMMAND has loaded uvloop: x" in lines
    assert line_of("asyncio", shown(None, [a_row("asyncio", kind="peer")]))


def test_table_prints_what_looks_like_markup_as_it_is():
    assert "[bold]x[/bold]" in "".join(shown(None, [a_row_without_figures("a", "[bold]x[/bold]")]))
