"""Every command in every state: handed out, answered by the core, refused, or kept waiting.

The columns are a session's states: greeted, USER said, logged in, RNFR said, REST said, a transfer
running; and logged in without any right.  "hand" is a command for the session, a number the core's
own answer, "wait" nothing until the transfer has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.serve.ftp.commands import COMMON, ROWS, SITE_TABLE, TABLE
from headrace.serve.ftp.core import Command, Core
from headrace.serve.users import Rights

STATES = ["greeted", "named", "in", "renaming", "positioned", "transfer", "no right"]
GRID = """
# line                          greeted named in   renaming positioned transfer no right
USER bob                        hand    hand  hand hand     hand       wait     hand
PASS secret                     503     hand  503  503      503        wait     503
PASS                            503     hand  503  503      503        wait     503
ACCT x                          530     530   202  202      202        wait     202
CWD pub                         530     530   hand hand     hand       wait     hand
XCWD pub                        530     530   hand hand     hand       wait     hand
CDUP                            530     530   hand hand     hand       wait     hand
XCUP                            530     530   hand hand     hand       wait     hand
SMNT x                          502     502   502  502      502        wait     502
REIN                            hand    hand  hand hand     hand       wait     hand
QUIT                            hand    hand  hand hand     hand       wait     hand
HOST ftp.example.org            220     503   503  503      503        wait     503
AUTH TLS                        hand    hand  hand hand     hand       wait     hand
PBSZ 0                          503     503   503  503      503        wait     503
PROT P                          503     503   503  503      503        wait     503
CCC                             533     533   533  533      533        wait     533
PORT 127,0,0,1,4,1              530     530   hand hand     hand       wait     hand
PASV                            530     530   hand hand     hand       wait     hand
EPRT |1|127.0.0.1|1025|         530     530   hand hand     hand       wait     hand
EPSV                            530     530   hand hand     hand       wait     hand
EPSV 2                          530     530   hand hand     hand       wait     hand
EPSV ALL                        530     530   200  200      200        wait     200
TYPE I                          530     530   200  200      200        wait     200
STRU F                          530     530   200  200      200        wait     200
MODE S                          530     530   200  200      200        wait     200
RETR name                       530     530   hand hand     hand       wait     550
STOR name                       530     530   hand hand     hand       wait     550
STOU                            530     530   hand hand     hand       wait     550
APPE name                       530     530   hand hand     hand       wait     550
LIST                            530     530   hand hand     hand       wait     550
NLST name                       530     530   hand hand     hand       wait     550
MLSD                            530     530   hand hand     hand       wait     550
ALLO 100                        530     530   202  202      202        wait     202
REST 100                        530     530   350  350      350        wait     350
RANG 0 99                       530     530   350  350      350        wait     350
ABOR                            hand    hand  hand hand     hand       hand     hand
RNFR name                       530     530   hand hand     hand       wait     550
RNTO name                       530     530   503  hand     503        wait     503
DELE name                       530     530   hand hand     hand       wait     550
RMD name                        530     530   hand hand     hand       wait     550
XRMD name                       530     530   hand hand     hand       wait     550
MKD name                        530     530   hand hand     hand       wait     550
XMKD name                       530     530   hand hand     hand       wait     550
PWD                             530     530   257  257      257        wait     257
XPWD                            530     530   257  257      257        wait     257
SIZE name                       530     530   hand hand     hand       wait     550
MDTM name                       530     530   hand hand     hand       wait     550
MFMT 20260102030405 name        530     530   hand hand     hand       wait     550
MLST                            530     530   hand hand     hand       wait     550
HASH name                       530     530   hand hand     hand       wait     550
STAT                            hand    hand  hand hand     hand       hand     hand
STAT pub                        530     530   hand hand     hand       wait     550
SITE CHMOD 644 name             530     530   hand hand     hand       wait     550
SITE UTIME 20260102030405 name  530     530   hand hand     hand       wait     550
SITE HELP                       530     530   214  214      214        wait     214
SITE WHO                        530     530   500  500      500        wait     500
SYST                            215     215   215  215      215        wait     215
HELP                            214     214   214  214      214        wait     214
NOOP                            200     200   200  200      200        200      200
FEAT                            211     211   211  211      211        wait     211
OPTS UTF8 ON                    200     200   200  200      200        wait     200
CLNT lftp                       200     200   200  200      200        wait     200
LANG EN                         200     200   200  200      200        wait     200
ADAT x                          502     502   502  502      502        wait     502
MIC x                           502     502   502  502      502        wait     502
CONF x                          502     502   502  502      502        wait     502
ENC x                           502     502   502  502      502        wait     502
XYZZY                           500     500   500  500      500        wait     500
"""


def rows() -> list[tuple[str, list[str]]]:
    lines = [line for line in GRID.strip().splitlines() if not line.startswith("#")]
    return [(line[:32].strip(), line[32:].split()) for line in lines]


def enter(state: str, driver: Any) -> None:
    if state == "named":
        driver.do("USER anne", 331)
    elif state != "greeted":
        driver.log_in()
    if state == "renaming":
        driver.do("RNFR old", 350)
        driver.core.state.rename_from = "/old"
    elif state == "positioned":
        assert driver.code("REST 10") == 350
    elif state == "transfer":
        command = driver.command("RETR big")
        driver.core.completed(command, 150)


def outcome(items: list[Any]) -> str:
    if not items:
        return "wait"
    [item] = items
    return "hand" if isinstance(item, Command) else str(item.code)


CASES = [
    (line, state, expected)
    for line, outcomes in rows()
    for state, expected in zip(STATES, outcomes, strict=True)
]


@pytest.mark.parametrize(("line", "state", "expected"), CASES)
def test_core_treats_the_command_in_the_state(
    driver: Callable[..., Any], line: str, state: str, expected: str
) -> None:
    rights = Rights(0) if state == "no right" else Rights.ALL
    played = driver(rights=rights, tls=False)
    played.core.setup = type(played.core.setup)(tls=True)
    enter(state, played)
    assert outcome(played.receive(line.encode() + b"\r\n")) == expected


def test_grid_has_every_command() -> None:
    lines = {line for line, _ in rows()}
    said = {line.split()[0] for line in lines} | {" ".join(line.split()[:2]) for line in lines}
    assert {row.verb for row in [*TABLE, *SITE_TABLE]} <= said


# RFC 959 section 5.4, "Command-Reply Sequences": preliminary and positive answers, then those that
# are the command's own and not in every command's list (500, 501, 502, 421, 530).
RFC_959 = {
    "USER": "230 530 331 332",
    "PASS": "230 202 530 503 332",
    "ACCT": "230 202 530 503",
    "CWD": "250 550",
    "CDUP": "200 550",
    "REIN": "120 220",
    "QUIT": "221",
    "PORT": "200",
    "PASV": "227",
    "MODE": "200 504",
    "TYPE": "200 504",
    "STRU": "200 504",
    "ALLO": "200 202 504",
    "REST": "350",
    "STOR": "125 150 110 226 250 425 426 451 551 552 532 450 452 553",
    "STOU": "125 150 110 226 250 425 426 451 551 552 532 450 452 553",
    "RETR": "125 150 110 226 250 425 426 451 450 550",
    "LIST": "125 150 226 250 425 426 451 450",
    "NLST": "125 150 226 250 425 426 451 450",
    "APPE": "125 150 110 226 250 425 426 451 551 552 532 450 550 452 553",
    "RNFR": "450 550 350",
    "RNTO": "250 532 553 503",
    "DELE": "250 450 550",
    "RMD": "250 550",
    "MKD": "257 550",
    "PWD": "257 550",
    "ABOR": "225 226",
    "SYST": "215",
    "STAT": "211 212 213 450",
    "HELP": "211 214",
    "SITE": "200 202",
    "NOOP": "200",
}
# What we answer besides, because RFC 959 has no words for it.
BESIDES = {
    "CDUP": {250},  # RFC 959 appendix II gives it CWD's answers
    "PASV": {425},  # no port is left
    "REST": {554},  # RFC 3659 section 5.5
    "RETR": {522, 554},  # RFC 4217 section 10; RFC 3659 section 5.5
    "STOR": {522, 554},
    "STOU": {522},
    "APPE": {522},
    "LIST": {522},
    "NLST": {522},
    "RNTO": {450, 452, 552},  # as RNFR, DELE and STOR have them: busy, disk full, over quota
    "RMD": {450},
    "MKD": {450, 452, 552, 553},
}


@pytest.mark.parametrize("verb", RFC_959)
def test_row_has_no_other_codes_than_rfc_959(verb: str) -> None:
    allowed = set(map(int, RFC_959[verb].split())) | BESIDES.get(verb, set()) | COMMON
    assert ROWS[verb].codes <= allowed


@pytest.mark.parametrize("verb", ROWS)
def test_row_may_answer_a_good_and_the_common_codes(verb: str) -> None:
    row = ROWS[verb]
    assert all(row.may_answer(code) for code in row.codes | COMMON)
    assert not row.may_answer(999)


def test_core_itself_keeps_to_the_table(driver: Callable[..., Any]) -> None:
    for line, _ in rows():
        played = driver(tls=True).log_in()
        assert isinstance(played.core, Core)
        for item in played.receive(line.encode() + b"\r\n"):
            verb = line.split()[0]
            row = next((row for row in SITE_TABLE if line.startswith(row.verb)), ROWS.get(verb))
            if row is not None and not isinstance(item, Command):
                assert row.may_answer(item.code), line
