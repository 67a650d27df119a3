"""docs/serve.md says what is true: options, defaults, limits, and its examples."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from headrace.serve import users
from headrace.serve.limits import Limits
from headrace.serve.settings import OPTIONS, Settings
from headrace.serve.users import RIGHT_LETTERS

GUIDE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()


NO_DEFAULT = {
    "",
    "auto",
    "off",
    "any",
    "as reached",
    "the fastest",
    "the certificate's",
    "standard error",
}
"""What stands for None."""


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first heading is that."""
    table = GUIDE.partition(f"| {first} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in row.strip("| ").split(" | ")] for row in table.split("\n")[2:]
    ]


def block(language: str) -> str:
    return GUIDE.partition(f"```{language}\n")[2].partition("```")[0]


def test_guide_names_each_option_and_no_other():
    named = [cells[0].strip("`").removeprefix("--") for cells in rows("option")]
    assert named == ["DIR", *(option.name for option in OPTIONS), "limit"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_guide_has_the_options_defaults(option):
    (row,) = re.findall(rf"^\| `--{option.name}` \|.*$", GUIDE, re.MULTILINE)
    shown = row.split("|")[3].strip()
    default = getattr(Settings("."), option.field)
    if isinstance(default, bool):
        assert shown == str(default).lower()
    elif option.name == "umask":
        assert int(shown, 8) == default
    elif default is not None:
        assert shown == str(default)
    else:
        assert shown in NO_DEFAULT


def test_guide_has_each_limit_with_its_default():
    shown = {cells[0].strip("`"): cells[1] for cells in rows("limit")}
    defaults = {
        field.name: "off" if field.default is None else f"{field.default:.15g}"
        for field in dataclasses.fields(Limits)
    }
    assert shown == defaults


def test_guides_file_of_settings_is_read(tmp_path):
    config = tmp_path / "serve.toml"
    config.write_text(block("toml").replace("/srv/mirror", str(tmp_path)))
    settings = Settings.make({"config": str(config)})
    assert settings.limits.clients_per_address_max == 20
    assert settings.log_format == "json"


def test_guides_users_are_read(tmp_path):
    file = tmp_path / "users"
    text = GUIDE.partition("## Users")[2].partition("```\n")[2].partition("```")[0]
    file.write_text(text)
    found = users.read_lines(file)
    assert list(found) == ["ann", "joe"]
    assert found["joe"].user.quota_bytes == 10 * 2**30
    for letter in RIGHT_LETTERS:
        assert f"`{letter}` " in GUIDE


def test_files_that_the_security_page_names_are_there():
    root = Path(__file__).parents[2]
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", (root / "docs/security.md").read_text())
    places = [root / "src/headrace/serve", root / "tests/serve", root]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_limits_that_the_security_page_names_are_there():
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    named = set(re.findall(r"`([a-z_]+_(?:max|min|s|bytes))`", text))
    known = {field.name for field in dataclasses.fields(Limits)}
    assert named <= known
