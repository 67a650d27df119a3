"""The machines' tables, and the page that is drawn from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.serve.ftp.commands import ALL_VERBS
from headrace.serve.ftp.drawing import document
from headrace.serve.ftp.states import CHANNELS, PASSAGES, STAGES, Channel, Stage, draw, expand

PAGE = Path(__file__).parents[3] / "docs" / "design" / "ftp.md"
STAGE_TABLE = expand(STAGES, ALL_VERBS)


def test_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == document()


@pytest.mark.parametrize("rules", [STAGES, CHANNELS, PASSAGES])
def test_rules_name_only_verbs_that_exist(rules: tuple[object, ...]) -> None:
    for rule in rules:
        assert rule.verbs - {"*", "EPSV ALL"} <= ALL_VERBS  # type: ignore[attr-defined]


def test_draw_has_an_arrow_for_each_change() -> None:
    assert draw(CHANNELS) == (
        "stateDiagram-v2\n"
        "    CLEAR --> SECURED : AUTH 2yz\n"
        "    SECURED --> SIZED : PBSZ 2yz\n"
        "    SIZED --> SECURED : REIN 2yz\n"
    )


def test_expand_leaves_out_what_stays() -> None:
    table = expand(CHANNELS, ALL_VERBS)
    assert all(before is not after for (before, _, _), after in table.items())
    assert table[Channel.CLEAR, "AUTH", 2] is Channel.SECURED
    assert (Channel.CLEAR, "AUTH", 5) not in table


def test_expand_takes_the_first_rule_that_fits() -> None:
    assert STAGE_TABLE[Stage.RENAMING, "REST", 3] is Stage.POSITIONED
    assert STAGE_TABLE[Stage.RENAMING, "REST", 5] is Stage.LOGGED_IN
    assert STAGE_TABLE[Stage.RENAMING, "USER", 3] is Stage.NAMED


@pytest.mark.parametrize("stage", [Stage.GREETED, Stage.NAMED])
def test_only_user_and_pass_lead_to_a_login(stage: Stage) -> None:
    entered = {
        (verb, digit)
        for (before, verb, digit), after in STAGE_TABLE.items()
        if before is stage and after not in (Stage.GREETED, Stage.NAMED)
    }
    expected = {("USER", 2)} if stage is Stage.GREETED else {("USER", 2), ("PASS", 2)}
    assert entered == expected
