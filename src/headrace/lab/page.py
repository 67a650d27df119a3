"""The result as one page: no script, no font, no image and no other file; it opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from headrace.lab.charts import cost_chart, has_split, latency_chart, rate_chart
from headrace.lab.columns import COLUMNS, SPOILED, cell, is_measured, label, mark, reason
from headrace.lab.machine import machine_line
from headrace.lab.report import title_line
from headrace.lab.table import marked_notes, marks_line, uncounted_line

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf8;--card:#fff;--ink:#1d2327;--soft:#5e6a71;
--line:#e3e1dc;--headrace:#0b7285;--peer:#c2780e;--raw:#7048a8;--floor:#868e96;--bad:#b02a37}
@media(prefers-color-scheme:dark){:root{--paper:#14181b;--card:#1c2226;--ink:#e6eaec;
--soft:#9aa7ae;--line:#2f383e;--headrace:#3bc0d6;--peer:#eeaa4d;--raw:#b197fc;--floor:#8b979e;--bad:#ff8a93}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 18px 48px}
h1{font-size:1.65rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:1.02rem;margin:0 0 2px}
p{margin:0}.soft{color:var(--soft);font-size:.9rem}
header{margin-bottom:22px}
.charts{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;
min-width:0}
.card svg{display:block;width:100%;max-width:460px;margin-top:8px}
svg text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
fill:var(--ink)}
svg .tick,svg .value{fill:var(--soft);font-size:12px}svg .name{font-weight:600}
svg .name.doubtful{fill:var(--soft);font-weight:400}
.headrace{--hue:var(--headrace)}.peer,.plain{--hue:var(--peer)}.raw{--hue:var(--raw)}
.floor{--hue:var(--floor)}
.bar,.mark{fill:var(--hue)}.bar.pale{opacity:.4}.bar.doubtful,.mark.doubtful{opacity:.3}
.range{stroke:var(--hue);stroke-width:2;opacity:.5;fill:none}
.mark{stroke:var(--card);stroke-width:1.2}
.whisker{stroke:var(--ink);stroke-width:1.2;fill:none;opacity:.75}
.grid{stroke:var(--line)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:10px;font-size:.88rem;
color:var(--soft)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;
background:var(--hue)}
.wide{margin-top:16px}.scroll{overflow-x:auto;margin:10px -18px 0;padding:0 18px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:7px 0 7px 16px;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:500;font-size:.84rem}
th:first-child,td:first-child{text-align:left;padding-left:0;position:sticky;left:0;
background:var(--card);padding-right:8px}
td:first-child{font-weight:600}td:first-child i{display:inline-block;width:9px;height:9px;
border-radius:50%;margin-right:8px;background:var(--hue)}
td.reason{text-align:left;white-space:normal}
td.reason span{display:block;min-width:11em;max-width:min(60em,calc(100vw - 190px))}
td b{color:var(--soft);margin-left:6px}tr.doubtful td b{color:var(--bad)}
tr.doubtful td{color:var(--soft)}tr.doubtful td:first-child{font-weight:400}
tbody tr:last-child td{border-bottom:0}
.notes{list-style:none;padding:0;margin:8px 0 0;font-size:.92rem}
.notes li{padding:3px 0}.notes .serious b{color:var(--bad)}
footer{margin-top:22px;overflow-wrap:anywhere}
"""
Row = Mapping[str, Any]
KINDS = {
    "headrace": "headrace",
    "peer": "other loops",
    "plain": "COMMAND as it is",
    "raw": "raw programs",
    "floor": "C",
}


def card(title: str, explanation: str, body: str) -> str:
    if not body:
        return ""
    return (
        f'<section class="card"><h2>{escape(title)}</h2>'
        f'<p class="soft">{escape(explanation)}</p>{body}</section>'
    )


def charts(rows: Sequence[Row]) -> str:
    rate = "requests per second; more is better; whiskers: all good rounds"
    split = "solid: user time, pale: kernel" if has_split(rows) else "user and kernel time together"
    cost = f"µs; less is better; {split}"
    latency = "● p50  ◆ p99  ▲ p99.9, logarithmic; further left is better"
    cards = (
        card("Throughput", rate, rate_chart(rows)),
        card("Server CPU per request", cost, cost_chart(rows)),
        card("Latency", latency, latency_chart(rows)),
        notes(rows),
    )
    return f'<div class="charts">{"".join(cards)}</div>'


def table(rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{escape(one.title)}</th>' for one in COLUMNS)
    lines = []
    for row in rows:
        sign = f"<b>{mark(row)}</b>" if mark(row) else ""
        name = f'<td class="{row["kind"]}"><i></i>{escape(label(row))}{sign}</td>'
        kind = "" if row["trusted"] else ' class="doubtful"'
        lines.append(f"<tr{kind}>{name}{figures(row)}</tr>")
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">model</th>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def figures(row: Row) -> str:
    """A row's cells, or its reason in their place."""
    if not is_measured(row):
        return (
            f'<td class="reason" colspan="{len(COLUMNS)}"><span>{escape(reason(row))}</span></td>'
        )
    return "".join(f"<td>{escape(cell(one, row))}</td>" for one in COLUMNS)


def explanation(rows: Sequence[Row]) -> str:
    """What a reader of the figures must know."""
    lines = ["medians of the good rounds", "± is half the distance between best and worst"]
    return "; ".join([*lines, *filter(None, (marks_line(rows), uncounted_line(rows)))])


def notes(rows: Sequence[Row]) -> str:
    items = []
    for sign, who, note in marked_notes(rows, with_reasons=True):
        kind = ' class="serious"' if sign == SPOILED else ""
        items.append(f"<li{kind}>{sign} <b>{escape(who)}</b>: {escape(note)}</li>")
    if not items:
        return ""
    return f'<section class="card"><h2>Notes</h2><ul class="notes">{"".join(items)}</ul></section>'


def legend(rows: Sequence[Row]) -> str:
    present = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    items = "".join(f'<span class="{kind}"><i></i>{KINDS[kind]}</span>' for kind in present)
    return f'<div class="legend">{items}</div>'


def versions_line(report: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in report["versions"].items())


def build_page(report: Mapping[str, Any]) -> str:
    """The whole page."""
    rows = list(report["rows"])
    ended = " · interrupted" if report["interrupted"] else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>headrace compare</title><style>{STYLE}</style></head>
<body><main>
<header><h1>What a request costs on each I/O model</h1>
<p>{escape(title_line(report["flags"]))}{ended}</p>
<p class="soft">{escape(machine_line(dict(report["machine"])))}</p>{legend(rows)}</header>
{charts(rows)}
<section class="card wide"><h2>All figures</h2>
<p class="soft">{escape(explanation(rows))}</p>
{table(rows)}</section>
<footer class="soft"><p>headrace compare, {escape(report["time"])}; \
{escape(versions_line(report))}.</p>
<p>Only ratios from one run count: a machine's speed drifts between runs.</p></footer>
</main></body></html>
"""
