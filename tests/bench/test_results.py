"""What is kept of a run, and what a page and a terminal make of it."""

import json

import documents

from suite import page, results
from suite.cell import Cell, Plan, Sample, Scenario
from suite.contenders import Contender
from suite.render import cell_lines, cell_titles, markdown_table, terminal_table
from suite.rounds import CellResult, Row

SCENARIO = Scenario("made_up", "made up for a test", list)
CELL = Cell("cell", None, (), "cpu_us", ("syscalls", "cpu_us", "p50_us"))
ROWS = [
    documents.row(
        "uring",
        {"syscalls": 0.031, "cpu_us": 4.0, "p50_us": 100.0},
        {"syscalls": 0.03, "cpu_us": 5.0, "p50_us": 110.0},
        {"syscalls": 0.029, "cpu_us": 6.0, "p50_us": 120.0},
    ),
    documents.row(
        "uvloop",
        {"cpu_us": 6.0, "p50_us": 150.0, "disturbed": "busy"},
        {"cpu_us": 7.5, "p50_us": 150.0, "disturbed": "busy"},
        {"cpu_us": 9.0},
    ),
    documents.row("rloop", reason="a | b"),
]


def document_of(*rows: Row) -> results.Document:
    return results.document_of(SCENARIO, Plan(), [CellResult(CELL, list(rows))])


def test_document_has_every_round():
    samples = [Sample({"cpu_us": 1.0}), Sample({"cpu_us": 2.0}, disturbed="busy")]
    found = document_of(Row(Contender("uring", version="1.2"), samples))
    row = results.row_of(found, "cell", "uring")
    assert row["version"] == "1.2"
    assert row["rounds"] == [
        {"cpu_us": 1.0, "disturbed": None},
        {"cpu_us": 2.0, "disturbed": "busy"},
    ]
    assert results.disturbed_count(row) == 1


def test_document_has_no_figure_of_a_contender_that_failed():
    found = document_of(Row(Contender("uring"), [Sample({"cpu_us": 1.0})], "it died"))
    row = results.row_of(found, "cell", "uring")
    assert (row["reason"], row["rounds"]) == ("it died", [])


def test_percentile_that_a_round_is_too_short_for_comes_from_all_rounds():
    # 99.9 % of 6,000 requests is 6 requests beyond: too few; of 12,000 it is enough.
    half = Sample({"p50_us": 1.0}, latency_ns=((1_000, 5_990), (50_000, 10)))
    found = document_of(Row(Contender("uring"), [half, half]))
    row = results.row_of(found, "cell", "uring")
    assert results.figure(row, "p50_us").median == 1.0
    assert 49.0 < results.figure(row, "p999_us").median < 51.0


def test_percentile_that_all_rounds_are_too_short_for_is_none():
    found = document_of(Row(Contender("uring"), [Sample({}, latency_ns=((1_000, 100),))]))
    assert results.figure(results.row_of(found, "cell", "uring"), "p999_us") is None


def test_document_is_read_as_it_was_written(tmp_path):
    found = documents.document("tcp_echo", cell=ROWS)
    path = results.write(found, tmp_path)
    assert path.name == "tcp_echo.json"
    assert results.read_all(tmp_path) == [found]


def test_six_digits_are_kept():
    assert results.rounded({"a": [1.23456789, 1234567.89, 3]}) == {"a": [1.23457, 1234570.0, 3]}


def test_user_share_is_of_all_rounds():
    row = documents.row(
        "uring", {"user_ms": 10.0, "system_ms": 20.0}, {"user_ms": 20.0, "system_ms": 30.0}
    )
    assert results.user_share(row) == 30.0 / 80.0
    assert results.user_share(documents.row("uring")) is None


def test_table_has_the_ratio_beside_the_primary_figure():
    cell = documents.cell("cell", ROWS)
    assert cell_titles(cell) == ["contender", "calls", "CPU µs", "±", "/ uring", "p50 µs"]
    ours, uvloop, rloop = cell_lines(cell)
    assert ours == ["uring", "0.030", "5.00", "20%", "1.00", "110.0"]
    assert uvloop == ["uvloop ~", "-", "7.50", "20%", "1.50", "150.0"]
    assert rloop == ["rloop", "a | b"]


def test_table_without_ours_has_no_ratio():
    (line,) = cell_lines(documents.cell("cell", ROWS[1:2]))
    assert line[4] == "-"


def test_terminal_table_is_aligned():
    lines = terminal_table(documents.cell("cell", ROWS)).splitlines()
    assert lines[0] == "cell"
    assert len(lines[1]) == len(lines[2]) == len(lines[3])
    assert lines[4] == "  rloop      a | b"


def test_terminal_table_of_failures_only_has_their_reasons():
    assert "a | b" in terminal_table(documents.cell("cell", ROWS[2:]))


def test_markdown_table_names_the_cell_once_and_escapes():
    lines = markdown_table(documents.document("tcp_echo", one=ROWS, two=ROWS)).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {8}
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["one", "", "", "two", "", ""]
    assert "a \\| b" in lines[4]


def test_markdown_has_a_table_for_each_kind_of_figures():
    found = documents.document("connect_storm", one=ROWS, two=ROWS, three=ROWS)
    found["cells"][1] |= {"primary": "cpu_us", "columns": ["cpu_us"]}
    tables = markdown_table(found).split("\n\n")
    assert [table.splitlines()[0].count("|") for table in tables] == [8, 6, 8]


def test_page_has_bars_notes_and_scenarios():
    text = page.text_of([documents.document("tcp_echo", cell=ROWS)], "## What limits it\n\nThis.\n")
    assert text.startswith("# Results\n")
    order = ["## The bars", "not measured", "## What limits it", "## tcp_echo: made up"]
    assert sorted(order, key=text.index) == order
    assert "uring 1.0, uvloop 1.0" in text
    assert "rloop 1.0" not in text


def test_page_of_nothing_says_that_nothing_was_measured():
    text = page.text_of([])
    assert "not measured" in text
    assert "holds" not in text


def test_documents_are_json():
    found = document_of(Row(Contender("uring"), [Sample({"cpu_us": 1.0})]))
    assert json.loads(json.dumps(results.rounded(found)))["scenario"] == "made_up"
