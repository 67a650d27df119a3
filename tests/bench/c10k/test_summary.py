"""From the rows of a run to its figures, its table and its picture."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from c10k import picture, table
from c10k.summary import held_rows, summarise

FILE_BYTES = 100_000
CORE = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def row(second: int, **changes: Any) -> dict[str, Any]:
    """A server that sends ten files and works 20 ms a second, on a core that works 30."""
    core = dict.fromkeys(CORE, 0) | {"system": 3 * second, "idle": 97 * second}
    return {
        "second": float(second),
        "alive": min(100, second * 10),
        "logged_in": min(100, second * 10),
        "transfers": second * 10,
        "bytes": second * 10 * FILE_BYTES,
        "cpu_s": second * 0.02,
        "periods": second * 100,
        "throttled_periods": second * 5,
        "memory_bytes": second * 1_000_000,
        "socket_bytes": max(0, 20 - second) * 2_000_000,
        "reasons": {},
        "core": core,
        **changes,
    }


def result(seconds: int = 40, cpu_share: float | None = 0.25, **final: Any) -> dict[str, Any]:
    percentiles = {"count": 100, "p1": 3000, "p50": 4000, "p99": 90_000, "max": 100_000}
    return {
        "peer": "ours",
        "version": "1",
        "rows": [row(second) for second in range(1, seconds + 1)],
        "load": {
            "users": 100,
            "ramp_per_s": 10.0,
            "seconds": float(seconds),
            "file_bytes": FILE_BYTES,
            "rate_bytes_per_s": 3600.0,
        },
        "box": {"cpu_share": cpu_share},
        "final": {
            "alive": 100,
            "transfers": seconds * 10,
            "reasons": {},
            "login_us": percentiles,
            "rate_bytes_per_s": percentiles,
            "load_late_ms_max": 2.0,
            "load_cpu_s": 4.0,
            **final,
        },
    }


def test_summary_has_what_the_held_part_cost():
    it = summarise(result())
    assert it.held_s == 25  # from 5 s after the last of 100 users, at 10 a second
    assert it.cpu_ms_per_transfer == pytest.approx(2.0)
    assert it.cpu_share == pytest.approx(0.02)
    assert it.quota_share == pytest.approx(0.08)
    assert it.throttled_share == pytest.approx(0.05)
    assert it.beside_share == pytest.approx(0.01)
    assert it.megabits_per_s == pytest.approx(8.0)
    assert (it.login_p50_ms, it.login_p99_ms, it.login_max_ms) == (4.0, 90.0, 100.0)


def test_summary_peak_is_of_pages_and_sockets_together():
    it = summarise(result())
    assert (it.memory_peak_bytes, it.socket_peak_bytes) == (40_000_000, 0)
    it = summarise(result(seconds=5))
    assert (it.memory_peak_bytes, it.socket_peak_bytes) == (39_000_000, 38_000_000)


def test_summary_without_quota_has_no_share_of_it():
    it = summarise(result(cpu_share=None))
    assert it.quota_share is None
    assert it.cpu_share == pytest.approx(0.02)


def test_summary_of_a_run_in_which_nobody_came_in():
    nothing = {"count": 0, "max": 0}
    it = summarise(result(alive=0, login_us=nothing, rate_bytes_per_s=nothing))
    assert (it.login_p99_ms, it.rate_p1) == (None, None)
    assert "-" in table.paced_table([(result(), it)])


@pytest.mark.parametrize(
    ("reasons", "failed"), [({}, False), ({"too slow": 3}, False), ({"load: no port": 1}, True)]
)
def test_summary_tells_the_loads_own_faults(reasons, failed):
    assert summarise(result(reasons=reasons)).load_failed is failed


def test_held_part_of_a_short_run_is_its_second_half():
    rows = [row(second) for second in range(1, 9)]
    assert [each["second"] for each in held_rows(rows, ramp_s=20)] == [5, 6, 7, 8]


def test_table_columns_are_aligned():
    text = table.paced_table([(result(), summarise(result()))])
    head, line = text.splitlines()
    assert head.index("alive") + len("alive") == line.index("100") + 3
    assert "2.00" in line


def test_losses_name_the_most_frequent_first():
    it = summarise(result(reasons={"too slow": 3, "cannot connect": 1_200}))
    assert table.losses(it) == "1,200 cannot connect, 3 too slow"
    assert table.losses(summarise(result())) == "nobody was lost"


def test_over_time_ends_with_the_last_row():
    assert table.over_time(result(seconds=41)).endswith("41 s: 100")
    assert table.over_time(result(seconds=2)) == "1 s: 10   2 s: 20"


def document(*results: dict[str, Any]) -> dict[str, Any]:
    machine = {
        "cpu": "a <fast> one",
        "cores_allowed": 2,
        "memory_bytes": 2**30,
        "kernel": "6",
        "python": "3",
    }
    return {"machine": machine, "paced": list(results)}


def test_picture_is_xml_with_a_line_for_each_figure_and_server():
    other = {**result(), "peer": "theirs & others"}
    drawn = ElementTree.fromstring(picture.draw(document(result(), other)))
    lines = drawn.findall(".//{*}polyline")
    # Four panels, two of them with a dashed line, two servers; and the legend.
    assert len(lines) == (4 + 2) * 2 + 2
    texts = [each.text for each in drawn.findall(".//{*}text")]
    assert {"theirs & others", "the quota", "users alive (dashed: logged in)"} <= set(texts)


@pytest.mark.parametrize("cpu_share", [0.25, None])
def test_picture_stays_on_its_paper(cpu_share):
    drawn = ElementTree.fromstring(picture.draw(document(result(cpu_share=cpu_share))))
    _, _, width, height = map(float, drawn.attrib["viewBox"].split())
    for line in drawn.findall(".//{*}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_picture_of_nothing_is_still_one():
    assert ElementTree.fromstring(picture.draw(document())) is not None


@pytest.mark.parametrize(
    ("value", "end"),
    [(0, 1), (0.31, 0.4), (1, 1), (1.1, 1.25), (37.5, 40), (10_000, 10_000), (10_001, 12_500)],
)
def test_scale_ends_at_a_round_number(value, end):
    assert picture.nice(value) == pytest.approx(end)
