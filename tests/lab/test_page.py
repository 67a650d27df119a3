"""The page says of each row what the terminal says."""

import re

from rows import a_row, a_row_without_figures

from headrace.lab.page import build_page

FLAGS = {
    "busy": 1, "idle": 0, "size_bytes": 1, "seconds": 1.0, "mode": "protocol", "repeat": 3,
    "http": None,
}  # fmt: skip
MACHINE = {
    "cpu": "a processor", "cores_allowed": 2, "memory_bytes": 2**30, "kernel": "6", "python": "3",
}  # fmt: skip


def page_of(*rows: dict) -> str:
    return build_page({
        "rows": list(rows), "flags": FLAGS, "machine": MACHINE, "versions": {}, "time": "now",
        "interrupted": False,
    })  # fmt: skip


def table_row(page: str, model: str) -> str:
    """The row of the table as text."""
    (found,) = re.findall(rf"<tr[^>]*><td[^>]*><i></i>{model}.*?</tr>", page)
    return re.sub(r"<[^>]+>", " ", found)


def cost_bars(page: str) -> list[str]:
    chart = page.partition('aria-label="server CPU per request"')[2].partition("</svg>")[0]
    return re.findall(r'<rect class="([^"]*)"', chart)


def test_page_draws_one_bar_for_cpu_time_whose_parts_are_not_known():
    page = page_of(a_row("epoll"), a_row("uring", user_us_per_request=None))
    assert cost_bars(page) == ["bar headrace", "bar headrace"]
    assert "user and kernel time together" in page
    assert "pale: kernel" not in page


def test_page_draws_user_time_solid_where_every_row_knows_it():
    page = page_of(a_row("epoll"), a_row_without_figures("poll", "no"))
    assert cost_bars(page) == ["bar pale headrace", "bar headrace"]
    assert "solid: user time, pale: kernel" in page


def test_page_has_the_marks_of_the_table():
    page = page_of(
        a_row("epoll"), a_row("poll", notes=["unsteady: x"]),
        a_row("uring", trusted=False, notes=["1 of 3 rounds had errors: x"]),
    )  # fmt: skip
    assert table_row(page, "epoll").split()[1] == "1,234,567"
    assert table_row(page, "poll").split()[1] == "*"
    assert table_row(page, "uring").split()[1] == "!"
    assert "; ! means rounds were left out" in page
    assert "; * means good" in page
    assert "syscalls: " not in page
    assert "1 of 3 rounds had errors: x" in page


def test_page_says_who_counted_the_system_calls():
    assert "; syscalls: the kernel&#x27;s count is not" in page_of(a_row(syscalls_source=None))


def test_page_has_the_reason_in_place_of_figures():
    page = page_of(a_row("epoll"), a_row_without_figures("select", "errors: <9> wrong"))
    assert table_row(page, "select").split() == ["select", "!", "errors:", "&lt;9&gt;", "wrong"]
    assert page.count(">select</text>") == 0  # no chart has it


def test_page_calls_the_command_as_it_is_so():
    page = page_of(a_row("asyncio", kind="plain"))
    assert table_row(page, "as it is")
    assert ">as it is</text>" in page
    assert "asyncio" not in page


def test_page_without_figures_has_no_chart():
    page = page_of(a_row_without_figures("select", "no"))
    assert "<svg" not in page
    assert table_row(page, "select").split() == ["select", "!", "no"]
