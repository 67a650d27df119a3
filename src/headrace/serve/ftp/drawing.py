"""docs/design/ftp.md, made from the tables that the core runs on.

python -m headrace.serve.ftp.drawing > docs/design/ftp.md
"""

from __future__ import annotations

from headrace.serve.ftp.answers import ANSWERS
from headrace.serve.ftp.commands import NOT_OFFERED, SITE_TABLE, STAT_PATH, TABLE, Argument, Row
from headrace.serve.ftp.states import ANY_STAGE, CHANNELS, IN, PASSAGES, STAGES, draw

HEAD = """\
# FTP: commands and machines

Made from the tables in `src/headrace/serve/ftp/` by `python -m headrace.serve.ftp.drawing`; a test
compares. `2yz` is a final answer that begins with 2 (RFC 959 section 4.2); what has no arrow stays
where it is.

## Login, renaming, position

```mermaid
%s```

## Encryption

```mermaid
%s```

## Data connections

```mermaid
%s```

## Commands

| command | argument | one of these rights | when | while it transfers | answered by | codes |
|---|---|---|---|---|---|---|
"""
TAIL = """
Besides these, any command may be answered with 421 (the end), 450 (busy), 500 (unknown, or a line
that is too long), 501 (argument), 502 (not offered), 503 (order), 504 (an argument that is not
offered), 530 (not logged in), 550 (no right) and 553 (no path).
"""


def document() -> str:
    """The whole page."""
    rows = [*TABLE, STAT_PATH, *SITE_TABLE]
    lines = [_line(row) for row in rows if row.verb not in NOT_OFFERED]
    return HEAD % (draw(STAGES), draw(CHANNELS), draw(PASSAGES)) + "".join(lines) + TAIL


def _line(row: Row) -> str:
    verb = row.verb + " path" * (row is STAT_PATH)
    rights = "" if row.permission is None else " ".join(flag.name or "" for flag in row.permission)
    argument = "" if row.argument is Argument.NONE else row.argument.value
    answered_by = "core" if row.verb in ANSWERS else "session"
    codes = " ".join(map(str, sorted(row.codes)))
    cells = [verb, argument, rights, _when(row), row.manner.value, answered_by, codes]
    return "| " + " | ".join(cells) + " |\n"


def _when(row: Row) -> str:
    if row.stages == ANY_STAGE:
        return "always"
    if row.stages == IN:
        return "logged in"
    return ", ".join(sorted(stage.value for stage in row.stages))


if __name__ == "__main__":
    print(document(), end="")
