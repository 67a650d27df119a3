"""The drawing is well-formed, says what it shows without being seen, and trusts no name."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from recordings import REQUEST, call, of_epoll, of_polling, of_ring, of_threads, recording

import headrace
from headrace.trace.drawing import LEFT, PLOT, WIDTH, draw, placed
from headrace.trace.options import parse
from headrace.trace.report import Result
from headrace.trace.timeline import KINDS, build

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>\"&'</script>"


def result_of(made, **changed):
    model = replace(headrace.models()[0], **changed)
    timeline = build(made, model.waits, model.copies)
    seen = timeline if timeline.is_seen else None
    return Result(parse([headrace.models()[0].name]), model, timeline, (5000.0, 50.0), seen, None)


def drawn(made, **changed):
    return ElementTree.fromstring(draw(result_of(made, **changed), "6.1"))


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "made", [of_epoll(), of_threads(), of_ring(), of_polling(), recording()],
    ids=["epoll", "threads", "ring", "polling", "unseen"],
)  # fmt: skip
def test_drawing_has_a_title_a_description_and_every_lane(made):
    root = drawn(made)
    named = {element.get("id"): element.text for element in root if element.get("id")}
    title, description = (named[name] for name in root.get("aria-labelledby").split())
    timeline = result_of(made).untraced
    assert root.get("role") == "img"
    assert title.startswith("One request on ")
    assert timeline.waits in description
    assert timeline.copies in description
    assert {lane.name for lane in timeline.lanes} <= set(texts(root))


def test_drawing_marks_and_names_both_phases():
    root = drawn(of_epoll())
    first, second = (
        next(rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == kind)
        for kind in ("one", "two")
    )
    end = float(first.get("x")) + float(first.get("width"))
    assert end == pytest.approx(float(second.get("x")), abs=0.2)
    assert any(words.startswith("phase 1") for words in texts(root))
    assert any(words.startswith("phase 2") for words in texts(root))


def test_drawing_names_each_call_and_explains_each_kind():
    root = drawn(of_epoll())
    assert {"epoll_wait", "recvfrom", "sendto", "data_received"} <= set(texts(root))
    timeline = result_of(of_epoll()).untraced
    kinds = {span.kind for lane in timeline.lanes for span in lane.spans}
    assert {KINDS[kind] for kind in kinds if kind in KINDS} <= set(texts(root))


def test_drawing_keeps_its_bars_within_the_plot():
    for made in (of_epoll(), of_polling()):
        for rect in drawn(made).iter(f"{SVG}rect"):
            if rect.find(f"{SVG}title") is not None:
                start, wide = float(rect.get("x")), float(rect.get("width"))
                assert start >= LEFT
                assert start + wide <= LEFT + PLOT + 3


def test_drawing_gathers_the_calls_of_a_polling_loop():
    assert "recvfrom, sched_yield" in texts(drawn(of_polling()))
    assert len(texts(drawn(of_polling()))) < 40


def test_drawing_of_a_long_answer_leaves_room_for_phase_2():
    slow = replace(REQUEST, first_answer=60_000_000, answered=60_000_000)
    made = replace(of_epoll(), requests=[slow])
    late = call("sendto", 50_000, 50_100, "7, ...", 1)
    root = drawn(replace(made, calls=[*made.calls, late]))
    assert "the answer, until +54.00 ms" in texts(root)
    (band,) = (rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "two")
    assert float(band.get("width")) > PLOT / 6
    assert texts(root).count("sendto") == 1


def test_drawing_escapes_every_name():
    made = recording([call(HOSTILE, 5050, 5090, HOSTILE, 1)])
    svg = draw(result_of(made, name=HOSTILE, waits=HOSTILE, copies=HOSTILE), HOSTILE)
    assert "<script" not in svg
    assert any(HOSTILE in (words or "") for words in texts(ElementTree.fromstring(svg)))


def test_drawing_needs_no_other_file_and_no_script():
    svg = draw(result_of(of_epoll()), "6.1")
    assert svg.count("http") == 1  # the name space
    assert "<script" not in svg
    assert "prefers-color-scheme:dark" in svg


def test_drawing_has_its_colours_without_variables_too():
    style = drawn(of_epoll()).find(f"{SVG}style").text
    variables = re.findall(r"(fill|stroke):var\(", style)
    assert len(variables) == len(re.findall(r"(fill|stroke):#\w+;\1:var\(", style)) > 0


def test_drawing_is_not_black_in_a_renderer_without_variables(tmp_path):
    renderer = shutil.which("rsvg-convert")
    if renderer is None:
        pytest.skip("rsvg-convert is not installed")
    picture = tmp_path / "picture.svg"
    picture.write_text(draw(result_of(of_epoll()), "6.1"))
    command = [renderer, "--width", "1", "--height", "1", str(picture)]
    png = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    chunk = png.index(b"IDAT")
    size = int.from_bytes(png[chunk - 4 : chunk], "big")
    _, *levels = zlib.decompress(png[chunk + 4 : chunk + 4 + size])
    assert min(levels[:3]) > 128


def test_drawing_without_strace_says_so():
    result = replace(result_of(recording()), refusal="strace is not installed")
    svg = draw(result, "6.1")
    assert "own timestamps alone (strace is not installed)" in svg.replace("&#x27;", "'")


def test_labels_never_touch_each_other():
    labels = [(LEFT + at, f"call_{at}") for at in range(0, 200, 10)] + [(LEFT + PLOT, "last")]
    found = placed(labels)
    rows: dict[int, list[tuple[float, float]]] = {}
    for (_, words), (row, x) in zip(labels, found, strict=True):
        if row is not None:
            rows.setdefault(row, []).append((x, x + len(words) * 6))
    assert len(rows) > 1
    for places in rows.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(places))
        assert places[-1][1] <= WIDTH


def test_labels_of_one_name_in_a_row_are_written_once():
    assert [row for row, _ in placed([(LEFT, "recv"), (LEFT + 5, "recv"), (LEFT + 9, "send")])] == [
        0, None, 1,
    ]  # fmt: skip
