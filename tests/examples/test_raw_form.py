"""The raw programs are short, stand by themselves, and are in the table that leads to them."""

import ast
import re
import sys

import pytest
from raw import RAW

PROGRAMS = sorted(RAW.glob("*.py"))
LINES_MAX = 60
LINES_MAX_OF = {"tiny_event_loop.py": 120}
MORE_THAN_PYTHON = {"http_get_many.py": {"aiohttp", "headrace"}}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_code(text):
    """Lines that are neither blank nor of a docstring."""
    documentation = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            documentation |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    numbered = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in numbered if line.strip() and number not in documentation)


def test_raw_programs_are_seventeen():
    assert len(PROGRAMS) == 17


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_raw_program_is_short_and_explains_itself(path):
    text = path.read_text()
    assert lines_of_code(text) <= LINES_MAX_OF.get(path.name, LINES_MAX)
    documentation = ast.get_docstring(ast.parse(text))
    assert f"python examples/raw/{path.name}" in documentation
    assert re.search(r"Stevens' five|what coroutines are made of|The model is the loop's", text)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_raw_program_needs_python_alone(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names == MORE_THAN_PYTHON.get(path.name, set())


def test_raw_programs_are_all_in_the_table():
    named = re.findall(r"^\| \[`(\w+\.py)`\]\(\1\) \|", (RAW / "README.md").read_text(), re.M)
    assert sorted(named) == [path.name for path in PROGRAMS]
