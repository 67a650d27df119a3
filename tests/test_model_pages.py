"""docs/models and docs/zh: a page for each model, true to the code where a test can tell.

The pictures are made by ``headrace trace MODEL --svg``, the figures by ``headrace compare``.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from headrace.claims.catalogue import CLAIMS
from headrace.lab.raw_programs import NAMES as RAW_ROWS
from headrace.models.registry import BUILT_IN, model_class
from headrace.trace.drawing import STYLE

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "models" / "pictures"
RAW = {
    "blocking": "examples/raw/blocking.py",
    "nonblocking": "examples/raw/nonblocking.py",
    "select": "examples/raw/select_server.py",
    "poll": "examples/raw/poll_server.py",
    "epoll": "examples/raw/epoll_level.py",
    "epoll-edge": "examples/raw/epoll_edge.py",
    "signal": "examples/raw/signal_driven.py",
    "aio": "examples/raw/aio_server.py",
    # Python's standard library has no io_uring.
    "uring": "bench/c/echo_uring.c",
}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!http)([^)#]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
COST = re.compile(
    r"^<!-- cost: (?P<model>.+) -->\n(?P<table>.*?)^<!-- end of cost -->$", re.S | re.M
)
FIGURE = re.compile(r"\d[\d,]*(\.\d+)?")
UNKNOWN = "–"


@dataclass(frozen=True)
class Language:
    """One of the two folders, and what its pages have in common."""

    folder: str
    sections: tuple[str, ...]
    columns: tuple[str, ...]
    declared: re.Pattern[str]

    def __str__(self):
        return self.folder

    def read(self, page):
        return (ROOT / "docs" / self.folder / f"{page}.md").read_text(encoding="utf-8")


ENGLISH = Language(
    "models",
    (
        "The facts",
        "One request, recorded",
        "What it costs",
        "What the obvious program does wrong",
        "When to use it",
        "When not",
        "By hand",
        "In headrace",
    ),
    (
        "row",
        "requests/s",
        "CPU µs/request",
        "system calls/request",
        "p50 µs",
        "p99 µs",
        "memory per idle connection",
    ),
    re.compile(r"^\* Declared: (.*?)\.(?:\s|$)", re.S | re.M),
)
CHINESE = Language(
    "zh",
    (
        "事实",
        "一次请求的实录",
        "代价",
        "想当然的写法错在哪里",
        "适用场合",
        "不适用场合",
        "手写实现",
        "在 headrace 中",
    ),
    (
        "行",
        "请求/秒",
        "CPU µs/请求",
        "系统调用/请求",
        "p50 µs",
        "p99 µs",
        "每个空闲连接的内存",
    ),
    re.compile(r"^\* 声明的能力(.*?)。", re.S | re.M),
)
LANGUAGES = (ENGLISH, CHINESE)

in_each_language = pytest.mark.parametrize("language", LANGUAGES, ids=str)
of_each_model = pytest.mark.parametrize("model", sorted({*BUILT_IN, *RAW}))


def section(language, model, number):
    """The text of a section, counted from 0, or from the end as in a list."""
    _, *found = re.split(r"^## .*$", language.read(model), flags=re.M)
    return found[number]


def cells(line):
    return tuple(cell.strip() for cell in line.strip("|").split(" | "))


def cost_table(language, model):
    """The column names, and the rows below them."""
    (found,) = COST.finditer(language.read(model))
    assert found["model"] == model
    head, _, *rows = found["table"].splitlines()
    return cells(head), [cells(row) for row in rows]


def claims_in(text):
    """The claims that its commands name."""
    commands = re.findall(r"headrace claims --only ([^`]*?)(?:`|\n\n)", text)
    return [name for command in commands for name in command.replace("\\", "").split()]


def linked(page, text):
    """What a text of *page* links to, as paths within the repository."""
    targets = [(page.parent / target).resolve() for target in LINK.findall(text)]
    return {target.relative_to(ROOT).as_posix() for target in targets}


def page_of(language, model):
    return ROOT / "docs" / language.folder / f"{model}.md"


@in_each_language
def test_each_built_in_model_has_its_page_and_each_page_its_model(language):
    pages = {path.stem for path in (ROOT / "docs" / language.folder).glob("*.md")}
    assert pages == {"README", *BUILT_IN}


@in_each_language
@of_each_model
def test_page_has_all_sections_in_order(language, model):
    text = language.read(model)
    assert text.startswith(f"# `{model}`\n")
    assert tuple(re.findall(r"^## (.*)$", text, re.M)) == language.sections
    for number, name in enumerate(language.sections):
        assert section(language, model, number).strip(), name


@in_each_language
@pytest.mark.parametrize("name", ["README", *sorted(RAW)])
def test_links_of_page_lead_to_files_of_the_repository(language, name):
    page = page_of(language, name)
    for target in LINK.findall(language.read(name)):
        assert (page.parent / target).is_file(), target


@in_each_language
@pytest.mark.parametrize("name", ["README", *sorted(RAW)])
def test_page_links_to_itself_in_the_other_language(language, name):
    (other,) = (one for one in LANGUAGES if one is not language)
    assert f"docs/{other.folder}/{name}.md" in linked(page_of(language, name), language.read(name))


@in_each_language
@of_each_model
def test_page_names_the_raw_program_and_the_file_of_its_model(language, model):
    page = page_of(language, model)
    module, _, _ = BUILT_IN[model].partition(":")
    by_hand, in_headrace = section(language, model, -2), section(language, model, -1)
    assert RAW[model] in linked(page, by_hand)
    assert f"src/{module.replace('.', '/')}.pyx" in linked(page, in_headrace)


@in_each_language
@of_each_model
def test_page_says_which_capabilities_its_model_declares(language, model):
    capabilities = model_class(model).capabilities
    (declared,) = language.declared.findall(section(language, model, -1))
    named = set(re.findall(r"`(\w+)`", declared)) & set(capabilities)
    assert named == {name for name, value in capabilities.items() if value}


@in_each_language
@of_each_model
def test_page_shows_its_model_recorded_and_how_to_record_it(language, model):
    recorded = section(language, model, 1)
    assert f"\n    headrace trace {model} --svg {model}.svg\n" in recorded
    (target,) = PICTURE.findall(recorded)
    assert PICTURE.findall(language.read(model)) == [target]
    assert (page_of(language, model).parent / target).resolve() == PICTURES / f"{model}.svg"


@of_each_model
def test_picture_of_model_is_there(model):
    picture = PICTURES / f"{model}.svg"
    assert picture.is_file(), f"headrace trace {model} --svg {picture.relative_to(ROOT)}"
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert f"<style>{STYLE}</style>" in picture.read_text(), "not as it would be drawn today"


def test_every_picture_is_of_a_model():
    assert {path.stem for path in PICTURES.glob("*")} <= set(BUILT_IN)


@in_each_language
@of_each_model
def test_cost_table_is_of_its_model(language, model):
    columns, rows = cost_table(language, model)
    assert columns == language.columns
    assert rows[0][0] == f"`{model}`"
    assert all(len(row) == len(columns) for row in rows)


@of_each_model
def test_cost_table_is_the_same_in_both_languages(model):
    assert cost_table(ENGLISH, model)[1] == cost_table(CHINESE, model)[1]


@of_each_model
def test_cost_table_has_figures(model):
    _, rows = cost_table(ENGLISH, model)
    for name, *figures, memory in rows:
        assert all(FIGURE.fullmatch(figure) for figure in figures), name
        assert memory == UNKNOWN or re.fullmatch(r"\d[\d,.]* (B|KiB)", memory), name


@of_each_model
def test_page_names_claims_that_there_are(model):
    english, chinese = (claims_in(section(one, model, 2)) for one in LANGUAGES)
    assert english
    assert english == chinese
    assert set(english) <= set(CLAIMS)


@in_each_language
@pytest.mark.parametrize("name", ["README", *sorted(RAW)])
def test_page_names_nothing_that_there_is_not(language, name):
    text = language.read(name)
    assert set(claims_in(text)) <= set(CLAIMS)
    assert set(re.findall(r"raw:\w+", text)) <= set(RAW_ROWS)
    hyphenated = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", text))
    assert hyphenated <= {*CLAIMS, *BUILT_IN, "c-uring"}


@in_each_language
def test_index_has_a_row_for_each_model_in_stevens_order(language):
    rows = re.findall(r"^\| \[`([\w-]+)`\]\((.*?)\) \|", language.read("README"), re.M)
    assert rows == [(model, f"{model}.md") for model in BUILT_IN]


@in_each_language
def test_index_names_raw_program_and_file_of_each_model(language):
    targets = linked(page_of(language, "README"), language.read("README"))
    for model, module in BUILT_IN.items():
        assert {RAW[model], f"src/{module.partition(':')[0].replace('.', '/')}.pyx"} <= targets
