"""The result as one page: no script, no font, no image and no other file; it opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from headrace.claims.claim import DEPENDS, FAILED, HOLDS, REFUTED, UNDECIDED
from headrace.claims.curves import Points, curve_chart
from headrace.claims.report import WORDS, Row, count_line, groups, where
from headrace.lab.machine import machine_line
from headrace.lab.page import STYLE, versions_line

CLASSES = {
    HOLDS: "holds",
    REFUTED: "refuted",
    DEPENDS: "depends",
    UNDECIDED: "undecided",
    FAILED: "failed",
}
OWN_STYLE = """
:root{--holds:#2b7a4b;--refuted:#b02a37;--depends:#9a6200;--undecided:#6b757c;
--l0:#0b7285;--l1:#c2780e;--l2:#b02a37;--l3:#6741a8;--l4:#2b7a4b;--l5:#868e96}
@media(prefers-color-scheme:dark){:root{--holds:#5fc98a;--refuted:#ff8a93;--depends:#eeaa4d;
--undecided:#9aa7ae;--l0:#3bc0d6;--l1:#eeaa4d;--l2:#ff8a93;--l3:#b79cf0;--l4:#5fc98a;--l5:#8b979e}}
h2.group{font-size:1.15rem;margin:30px 0 10px}
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));margin-bottom:14px}
:lang(zh){font-family:"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
.claims{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr))}
.claims .card{border-left:4px solid var(--hue);overflow-wrap:anywhere}
.claims h3{font-size:1rem;margin:0;display:flex;flex-wrap:wrap;gap:2px 12px;
justify-content:space-between}
.claims h3 b{color:var(--hue)}
.claims blockquote{margin:8px 0 0;padding:0}.claims .english{font-style:italic}
.claims .number{margin-top:8px;font-weight:600;font-variant-numeric:tabular-nums}
.claims .soft{margin-top:6px}
.tally{display:flex;flex-wrap:wrap;gap:6px 18px;margin-top:12px;font-weight:600}
.tally span{color:var(--hue)}
.holds{--hue:var(--holds)}.refuted,.failed{--hue:var(--refuted)}.depends{--hue:var(--depends)}
.undecided{--hue:var(--undecided)}
.line0{--hue:var(--l0)}.line1{--hue:var(--l1)}.line2{--hue:var(--l2)}.line3{--hue:var(--l3)}
.line4{--hue:var(--l4)}.line5{--hue:var(--l5)}
.curve{fill:none;stroke:var(--hue);stroke-width:2}.dot{fill:var(--hue)}
"""


def merged_curves(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, Points]]:
    """Lines over the same scales belong into one drawing: it is their difference that matters."""
    found: dict[tuple[str, str], dict[str, Points]] = {}
    for row in rows:
        if row["curve"] is not None:
            scales = (row["curve"]["x"], row["curve"]["y"])
            found.setdefault(scales, {}).update(row["curve"]["lines"])
    return found


def charts(rows: Sequence[Row]) -> str:
    cards = [
        f'<section class="card"><h2>{escape(y)}, by {escape(x)}</h2>'
        f"{curve_chart(x, y, lines)}</section>"
        for (x, y), lines in merged_curves(rows).items()
    ]
    return f'<div class="charts">{"".join(cards)}</div>' if cards else ""


def card(row: Row) -> str:
    return (
        f'<section class="card {CLASSES[row["verdict"]]}" id="{escape(row["name"])}">'
        f"<h3><span>{escape(row['name'])}</span><b>{escape(row['verdict'])}</b></h3>"
        f'<blockquote lang="zh">“{escape(row["sentence"])}”</blockquote>'
        f'<p class="english">{escape(row["english"])}</p>'
        f'<p class="number">{escape(row["number"])}</p>'
        f'<p class="soft">{escape(row["reading"])}</p>'
        f'<p class="soft">{escape(where(row))}</p></section>'
    )


def tally(rows: Sequence[Row]) -> str:
    counts = ((kind, sum(row["verdict"] == kind for row in rows)) for kind in CLASSES)
    items = [
        f'<span class="{CLASSES[kind]}">{count} {WORDS[kind]}</span>'
        for kind, count in counts
        if count
    ]
    return f'<div class="tally">{"".join(items)}</div>'


def build_page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    rows = list(report["claims"])
    ended = " · interrupted" if report["interrupted"] else ""
    parts = [
        f'<h2 class="group">{escape(group)}</h2>{charts(members)}'
        f'<div class="claims">{"".join(map(card, members))}</div>'
        for group, members in groups(rows).items()
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>headrace claims</title><style>{STYLE}{OWN_STYLE}</style></head>
<body><main>
<header><h1>What is said about Unix I/O models, measured</h1>
<p>{escape(count_line(rows))}, {escape(report["scale"])}{ended}</p>
<p class="soft">{escape(machine_line(dict(report["machine"])))}</p>{tally(rows)}</header>
{"".join(parts)}
<footer class="soft"><p>headrace claims, {escape(report["time"])}; \
{escape(versions_line(report))}.</p>
<p>Intervals are 95 % bounds of a median; an exponent's ± is two standard errors. \
A verdict that the noise does not allow is “not decidable here”.</p></footer>
</main></body></html>
"""
