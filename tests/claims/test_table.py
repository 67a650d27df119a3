"""The table fits the terminal and cuts no number."""

import pytest
from results import a_report, a_result
from rich.cells import cell_len

from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import DEPENDS, FAILED, HOLDS, REFUTED, UNDECIDED
from headrace.claims.table import list_lines, table_lines, wrapped_wide

LONG = "8,000 of 8,000 kept between threads; others ran 0 times during get(), 96 times otherwise"


def lines_of(*results, columns=None, full=False):
    rows = a_report(*results)["claims"]
    return [line for line, _ in table_lines(rows, "title", "footer", columns, full=full)]


def test_table_has_name_verdict_and_number_in_one_line():
    lines = lines_of(a_result("epoll-mmap", REFUTED, "0 mappings"))
    assert "  epoll-mmap  refuted  0 mappings" in lines


def test_table_counts_the_verdicts():
    lines = lines_of(
        a_result("epoll-mmap", REFUTED), a_result("epoll-flat", HOLDS),
        a_result("c10k", UNDECIDED), a_result("eagain", DEPENDS), a_result("regular-files", FAILED),
    )  # fmt: skip
    assert "5 claims: 1 holds, 1 refuted, 1 depends, 1 not decidable here, 1 failed; 5 s" in lines


def test_table_groups_claims_under_their_theme():
    lines = lines_of(a_result("epoll-mmap", REFUTED), a_result("epoll-copies-once", HOLDS))
    assert lines.count("What is handed to the kernel") == 1


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("full", [False, True])
def test_table_fits_a_terminal(columns, full):
    lines = lines_of(
        a_result("queue-is-thread-safe", DEPENDS, LONG), a_result("epoll-mmap", UNDECIDED, LONG),
        columns=columns, full=full,
    )  # fmt: skip
    assert max(map(cell_len, lines)) <= max(columns, 32)
    assert " ".join(" ".join(lines).split()).count(" ".join(LONG.split()[-3:])) == 2


def test_table_in_full_has_the_sentence_and_where_it_stands():
    text = "\n".join(lines_of(a_result("epoll-mmap", REFUTED), full=True))
    claim = CLAIMS["epoll-mmap"]
    for words in (claim.sentence, claim.english, claim.reading, "notes 1 “什么是IO多路复用”, 3"):
        assert words in text


@pytest.mark.parametrize("columns", [20, 33, 50])
def test_wrapped_wide_counts_two_columns_for_a_wide_character(columns):
    words = "每次调用select都需要在内核遍历传递进来的所有fd，这个开销在fd很多时也很大"
    lines = wrapped_wide(words, columns, "  ")
    # One column more for what must not begin a line.
    assert max(map(cell_len, lines)) <= columns + 2
    assert "".join(line.strip() for line in lines) == words
    assert not any(line.strip()[0] in "，。”" for line in lines)


@pytest.mark.parametrize("columns", [None, 40, 80, 120])
def test_list_has_every_claim(columns):
    lines = [line for line, _ in list_lines([one.described() for one in CLAIMS.values()], columns)]
    named = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert named == list(CLAIMS)
    if columns:
        assert max(map(len, lines)) <= columns
