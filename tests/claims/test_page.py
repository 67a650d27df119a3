"""The page says of each claim what the terminal says, and curves over the same scales together."""

import math
import re
from html import escape
from html.parser import HTMLParser

import pytest

from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import FAILED, HOLDS, REFUTED, Curve
from headrace.claims.curves import curve_chart, powers
from headrace.claims.page import build_page
from results import a_report, a_result

SLOPE = [(64.0, 1.0), (640.0, 10.0)]
VOID = {"meta", "path", "circle", "rect"}


class Balance(HTMLParser):
    """Whether what is opened is closed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_other_file():
    page = build_page(a_report(*(a_result(name, HOLDS) for name in CLAIMS)))
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    for words in ("<script", "<link", "<img", "src=", "url(", "http:", "https:"):
        assert words not in page


def test_page_has_sentence_number_verdict_and_reading_of_each():
    page = build_page(a_report(*(a_result(name, REFUTED, f"{name} < 7") for name in CLAIMS)))
    for name, claim in CLAIMS.items():
        for words in (claim.sentence, claim.english, claim.reading, f"{name} < 7"):
            assert escape(words) in page
    assert page.count("<b>refuted</b>") == len(CLAIMS)


def test_page_draws_lines_over_the_same_scales_into_one_chart():
    def curve(who: str) -> Curve:
        return Curve("descriptors", "µs", {who: SLOPE})

    page = build_page(
        a_report(
            a_result("select-scans", HOLDS, curve=curve("select")),
            a_result("poll-scans", HOLDS, curve=curve("poll")),
            a_result("nap-delays", HOLDS, curve=Curve("nap", "delay", {"reader": SLOPE})),
        )
    )
    assert page.count("<svg") == 2
    together = page.partition('aria-label="µs over descriptors"')[2].partition("</svg>")[0]
    assert len(re.findall(r'class="curve line\d"', together)) == 2


def test_page_says_that_it_was_interrupted():
    assert "· interrupted" in build_page(a_report(a_result("c10k", HOLDS), interrupted=True))


def test_page_has_the_line_of_a_failed_experiment():
    page = build_page(a_report(a_result("c10k", FAILED, "OSError: <no>")))
    assert "OSError: &lt;no&gt;" in page
    assert "1 failed" in page


def test_chart_puts_ten_times_as_much_one_power_higher():
    chart = curve_chart("x", "y", {"one": [(1, 1), (10, 10), (100, 100)]})
    (path,) = re.findall(r'class="curve line0" d="M([^"]+)"', chart)
    (x1, y1), (x2, y2), (x3, y3) = (map(float, point.split()) for point in path.split("L"))
    assert abs((x2 - x1) - (x3 - x2)) < 0.2
    assert abs((y1 - y2) - (y2 - y3)) < 0.2
    assert y1 > y2 > y3


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan])
def test_chart_leaves_out_what_has_no_logarithm(bad):
    chart = curve_chart("x", "y", {"one": [(1, 1), (2, bad), (3, 3)], "none": [(bad, 1)]})
    (path,) = re.findall(r'class="curve line\d" d="M([^"]+)"', chart)
    assert len(path.split("L")) == 2
    assert "none" in curve_chart("x", "y", {"none": [(1, bad)]})


def test_chart_has_an_axis_where_all_values_are_the_same():
    assert powers([1.0, 1.0]) == [0, 1]
    assert powers([0.9, 1500]) == [-1, 0, 1, 2, 3, 4]
    assert "curve line0" in curve_chart("x", "y", {"flat": [(1, 1), (1, 1)]})
