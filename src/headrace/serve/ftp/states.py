"""The machines of an FTP session, as tables of (state, event) -> state.

Three machines run side by side.  An event is a command that has got its final answer: the verb and
the first digit of the code (RFC 959 section 4.2: 2 done, 3 more is wanted, 4 and 5 not done).

* `Stage`: login and the commands that must follow one another (RFC 959 section 5.4, "Sequencing").
* `Channel`: AUTH before PBSZ before PROT (RFC 2228 section 3).
* `Passage`: after EPSV ALL no other way to a data connection (RFC 2428 section 3).

`STAGES`, `CHANNELS` and `PASSAGES` are the rules; the core looks in dictionaries made from them,
and `draw()` makes the documentation's diagrams from them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar


class Stage(enum.Enum):
    """How far the client has come."""

    GREETED = "greeted"
    """USER is awaited."""
    NAMED = "named"
    """USER was answered with 331: PASS is awaited."""
    LOGGED_IN = "logged in"
    RENAMING = "renaming"
    """RNFR was answered with 350: RNTO is awaited, any other command ends it."""
    POSITIONED = "positioned"
    """REST or RANG was answered with 350: a transfer from there is awaited."""


class Channel(enum.Enum):
    """What protects the control connection, and what the data connections."""

    CLEAR = "clear"
    SECURED = "secured"
    """AUTH was answered with 234, or TLS was there from the beginning."""
    SIZED = "sized"
    """PBSZ 0 was answered with 200: PROT is allowed."""


class Passage(enum.Enum):
    """Which commands may set up a data connection."""

    ANY = "any"
    EXTENDED_ONLY = "EPSV only"
    """EPSV ALL was said: "the server MUST reject all data connection setup commands other than
    EPSV" (RFC 2428 section 3)."""


S = TypeVar("S", bound=enum.Enum)


class Rule(NamedTuple, Generic[S]):
    """From any of `before`, when one of `verbs` was answered with one of `digits`, to `after`."""

    before: frozenset[S]
    verbs: frozenset[str]
    digits: frozenset[int]
    after: S


ANY_STAGE = frozenset(Stage)
IN = frozenset([Stage.LOGGED_IN, Stage.RENAMING, Stage.POSITIONED])
OUT = frozenset([Stage.GREETED, Stage.NAMED])
ANY_VERB = frozenset(["*"])
DONE, MORE, NOT_DONE = frozenset([2]), frozenset([3]), frozenset([4, 5])
FINAL = frozenset([2, 3, 4, 5])


def _verbs(names: str) -> frozenset[str]:
    return frozenset(names.split())


# REST "shall be immediately followed by the appropriate FTP service command" (RFC 959 section
# 4.1.3).  Clients ask for the data connection, its type and the size in between (REST, PASV, RETR),
# so these leave the position as it is: a lost position is a damaged file.
KEEP_POSITION = _verbs(
    "PORT PASV EPRT EPSV TYPE MODE STRU ALLO NOOP STAT SIZE MDTM FEAT OPTS PBSZ PROT PWD XPWD SYST"
    " ABOR CLNT"
)

# In order: the first rule that fits is taken, none is "stay".
STAGES: tuple[Rule[Stage], ...] = (
    # A new USER may come at any point; the login before it is forgotten (RFC 959 section 4.1.1).
    Rule(ANY_STAGE, _verbs("USER"), MORE, Stage.NAMED),
    Rule(ANY_STAGE, _verbs("USER"), DONE, Stage.LOGGED_IN),
    Rule(ANY_STAGE, _verbs("USER"), NOT_DONE, Stage.GREETED),
    Rule(frozenset([Stage.NAMED]), _verbs("PASS"), DONE, Stage.LOGGED_IN),
    Rule(frozenset([Stage.NAMED]), _verbs("PASS"), NOT_DONE, Stage.GREETED),
    # RFC 2228 section 3: after AUTH the client must log in again.
    Rule(ANY_STAGE, _verbs("REIN AUTH"), DONE, Stage.GREETED),
    Rule(IN, _verbs("RNFR"), MORE, Stage.RENAMING),
    Rule(IN, _verbs("REST RANG"), MORE, Stage.POSITIONED),
    # RNFR "must be immediately followed by a 'rename to' command" (RFC 959 section 4.1.3): any
    # other command forgets the name.
    Rule(frozenset([Stage.RENAMING]), ANY_VERB, FINAL, Stage.LOGGED_IN),
    Rule(frozenset([Stage.POSITIONED]), KEEP_POSITION, FINAL, Stage.POSITIONED),
    Rule(frozenset([Stage.POSITIONED]), ANY_VERB, FINAL, Stage.LOGGED_IN),
)

CHANNELS: tuple[Rule[Channel], ...] = (
    Rule(frozenset([Channel.CLEAR]), _verbs("AUTH"), DONE, Channel.SECURED),
    Rule(frozenset([Channel.SECURED]), _verbs("PBSZ"), DONE, Channel.SIZED),
    # The control connection stays encrypted; what was agreed for the data is agreed anew.
    Rule(frozenset([Channel.SIZED]), _verbs("REIN"), DONE, Channel.SECURED),
)

PASSAGES: tuple[Rule[Passage], ...] = (
    Rule(frozenset([Passage.ANY]), frozenset(["EPSV ALL"]), DONE, Passage.EXTENDED_ONLY),
    Rule(frozenset([Passage.EXTENDED_ONLY]), _verbs("REIN"), DONE, Passage.ANY),
)


def expand(rules: Iterable[Rule[S]], verbs: Iterable[str]) -> dict[tuple[S, str, int], S]:
    """One entry for each change; a (state, verb, digit) that is not in it stays where it is."""
    table: dict[tuple[S, str, int], S] = {}
    names = frozenset(verbs)
    for rule in rules:
        for verb in names if rule.verbs == ANY_VERB else rule.verbs:
            for before in rule.before:
                for digit in rule.digits:
                    table.setdefault((before, verb, digit), rule.after)
    return {event: after for event, after in table.items() if event[0] is not after}


def draw(rules: Iterable[Rule[S]]) -> str:
    """The machine as a Mermaid diagram; most that stays where it is has no arrow."""
    lines = ["stateDiagram-v2"]
    for rule in rules:
        digits = " ".join(f"{digit}yz" for digit in sorted(rule.digits))
        verbs = "any other" if rule.verbs == ANY_VERB else " ".join(sorted(rule.verbs))
        lines += [
            f"    {before.name} --> {rule.after.name} : {verbs} {digits}"
            for before in sorted(rule.before, key=lambda state: str(state.name))
            if before is not rule.after or len(rule.before) == 1
        ]
    return "\n".join(lines) + "\n"
