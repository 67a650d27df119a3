"""The facts that MLST and MLSD can say of a file (RFC 3659 section 7.5)."""

from __future__ import annotations

FACTS = ("type", "size", "modify", "perm", "unique", "UNIX.mode")
"""In the order in which they are sent; "UNIX.mode" is of IANA's OS-specific facts."""
_BY_LOWER_CASE = {fact.lower(): fact for fact in FACTS}


def select_facts(text: str) -> tuple[str, ...]:
    """OPTS MLST's list, "type;size;": those that we know, in our order.

    Others are ignored, and without any name no fact is sent (RFC 3659 section 7.9).  Names are not
    case-sensitive.
    """
    wanted = {_BY_LOWER_CASE.get(name.strip().lower()) for name in text.split(";")}
    return tuple(fact for fact in FACTS if fact in wanted)


def format_facts(facts: tuple[str, ...]) -> str:
    """ "type;size;": as the answer to OPTS MLST has them."""
    return "".join(f"{fact};" for fact in facts)


def feature_of_facts(facts: tuple[str, ...]) -> str:
    """FEAT's line: all facts, an asterisk behind those that are sent now (RFC 3659 section 7.8)."""
    return "MLST " + "".join(f"{fact}{'*' if fact in facts else ''};" for fact in FACTS)
