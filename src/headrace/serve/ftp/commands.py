"""The commands, a row each: what is taken, from whom, when, and what may be answered.

RFC 959 section 5.4 lists for each command the replies that it may have; the rows hold them, with
what RFC 2228, 2389, 2428, 2640, 3659, 4217 and 7151 add.  What the core refuses by itself is in
every row unsaid: 500 unknown, 501 argument, 502 not offered, 503 order, 530 not logged in, 550 no
right, 421.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.serve.ftp import arguments
from headrace.serve.ftp.states import ANY_STAGE, IN, Stage
from headrace.serve.users import Rights


class Argument(enum.Enum):
    """What stands behind the verb."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Manner(enum.Enum):
    """When it is carried out, if another command is still running."""

    QUEUED = "queued"
    """Not before the one that runs is done."""
    TRANSFER = "transfer"
    """As QUEUED; and while it runs itself, the two below are carried out."""
    MEANWHILE = "meanwhile"
    """During a transfer, if nothing waits before it."""
    ABORTING = "aborting"
    """During a transfer, before all that waits."""


@dataclass(frozen=True, slots=True)
class Row:
    """One command."""

    verb: str
    argument: Argument
    permission: Rights | None
    """One of these rights is needed at least; what the file's existence adds is for the session."""
    stages: frozenset[Stage]
    codes: frozenset[int]
    help: str
    parse: Callable[[str], Any] = arguments.parse_name
    manner: Manner = Manner.QUEUED

    def may_answer(self, code: int) -> bool:
        """Whether a session keeps to the table with this answer."""
        return code in self.codes or code in COMMON


class Command:
    """A command that is well formed, in order and permitted: the session is to answer it.

    `argument` is what the client said, `value` what it means: what the row's `parse` returned.
    """

    __slots__ = ("argument", "row", "value", "verb")

    def __init__(self, row: Row, argument: str, value: Any) -> None:
        self.row = row
        self.verb = row.verb
        self.argument = argument
        self.value = value

    def __repr__(self) -> str:
        shown = "***" if self.verb == "PASS" else repr(self.argument)
        return f"<Command {self.verb} {shown}>"


NONE, OPTIONAL, REQUIRED = Argument.NONE, Argument.OPTIONAL, Argument.REQUIRED
QUEUED, TRANSFER, MEANWHILE = Manner.QUEUED, Manner.TRANSFER, Manner.MEANWHILE
LIST, READ, FOLDERS = Rights.LIST, Rights.READ, Rights.FOLDERS
LOOK = LIST | READ
WRITE = Rights.CREATE | Rights.REPLACE
NAMED, RENAMING = frozenset([Stage.NAMED]), frozenset([Stage.RENAMING])
GREETED = frozenset([Stage.GREETED])
# RFC 959 section 5.4, of LIST and RETR: "125, 150; 226, 250; 425, 426, 451; 450", for RETR "550";
# of STOR, STOU and APPE: besides these "551, 552; 532, 450, 452, 553".  550 is for those that are
# not found or not permitted with each of them, as RFC 959 section 4.2.2 explains it; 522 is for
# data that must be protected (RFC 4217 section 10), 554 for a position beyond the file's end (RFC
# 3659).
_DATA = {125, 150, 226, 250, 425, 426, 450, 451, 522, 550}
_STORE = _DATA | {452, 551, 552, 553}
COMMON = frozenset([421, 450, 500, 501, 502, 503, 504, 530, 550, 553])
"""What may be answered to any command: by the core; by a session in its last moments (421), one
that has no descriptor or thread left (450), or one that was given a path that is none (553)."""


def _row(
    verb: str,
    argument: Argument,
    permission: Rights | None,
    stages: frozenset[Stage],
    codes: set[int],
    help_text: str,
    parse: Callable[[str], Any] = arguments.parse_name,
    manner: Manner = QUEUED,
) -> Row:
    return Row(verb, argument, permission, stages, frozenset(codes), help_text, parse, manner)


# SITE's first word, and whether STAT has a path, decide on the row.  "If no argument is given"
# (RFC 959 section 4.1.3) STAT is about the session, at any time; with a path it is a listing: for
# those logged in, who may list, and not during a transfer.
# fmt: off
SITE = _row("SITE", REQUIRED, None, IN, {200, 202}, "SITE CHMOD|HELP|UTIME")
SITE_UNKNOWN = _row("SITE", REQUIRED, None, IN, {500}, "SITE HELP says which there are")
STAT = _row("STAT", NONE, None, ANY_STAGE, {211}, "STAT [path]: how the session stands, or as LIST",
            manner=MEANWHILE)
STAT_PATH = _row("STAT", REQUIRED, LIST, IN, {211, 212, 213, 450, 550}, "STAT path: as LIST")

TABLE: tuple[Row, ...] = (
    # Access control (RFC 959 section 4.1.1)
    _row("USER", REQUIRED, None, ANY_STAGE, {230, 331, 421, 530}, "USER name: who logs in"),
    _row("PASS", OPTIONAL, None, NAMED, {202, 230, 421, 530}, "PASS password"),
    _row("ACCT", REQUIRED, None, IN, {202}, "ACCT account: superfluous here"),
    _row("CWD", REQUIRED, None, IN, {250, 421, 550}, "CWD path: change the folder"),
    _row("XCWD", REQUIRED, None, IN, {250, 421, 550}, "XCWD path: as CWD"),
    _row("CDUP", NONE, None, IN, {200, 250, 421, 550}, "CDUP: change to the folder above"),
    _row("XCUP", NONE, None, IN, {200, 250, 421, 550}, "XCUP: as CDUP"),
    _row("SMNT", REQUIRED, None, IN, {502}, "SMNT: not offered"),
    _row("REIN", NONE, None, ANY_STAGE, {220, 421}, "REIN: begin anew, without closing"),
    _row("QUIT", NONE, None, ANY_STAGE, {221}, "QUIT: close the connection"),
    _row("HOST", REQUIRED, None, GREETED, {220, 501, 504}, "HOST name: the server meant",
         arguments.parse_host),
    # Protection (RFC 2228 section 3, RFC 4217)
    _row("AUTH", REQUIRED, None, ANY_STAGE, {234, 421, 431, 503, 504, 534}, "AUTH TLS: encrypt",
         arguments.parse_mechanism),
    _row("PBSZ", REQUIRED, None, ANY_STAGE, {200, 503}, "PBSZ 0", arguments.parse_buffer_size),
    _row("PROT", REQUIRED, None, ANY_STAGE, {200, 503, 504, 536},
         "PROT P|C: whether data connections are encrypted", arguments.parse_protection),
    _row("CCC", NONE, None, ANY_STAGE, {533, 534}, "CCC: refused"),
    # Transfer parameters (RFC 959 section 4.1.2, RFC 2428)
    _row("PORT", REQUIRED, None, IN, {200, 421, 500, 501, 503, 504}, "PORT h1,h2,h3,h4,p1,p2",
         arguments.parse_port),
    _row("PASV", NONE, None, IN, {227, 421, 425, 503}, "PASV: the server waits for the client"),
    _row("EPRT", REQUIRED, None, IN, {200, 421, 500, 501, 503, 504, 522}, "EPRT |1|address|port|",
         arguments.parse_eprt),
    _row("EPSV", OPTIONAL, None, IN, {200, 229, 421, 425, 522}, "EPSV [1|2|ALL]: as PASV",
         arguments.parse_epsv),
    _row("TYPE", REQUIRED, None, IN, {200, 504}, "TYPE A|I|L 8", arguments.parse_type),
    _row("STRU", REQUIRED, None, IN, {200, 504}, "STRU F", arguments.parse_structure),
    _row("MODE", REQUIRED, None, IN, {200, 504}, "MODE S", arguments.parse_mode),
    # Transfers (RFC 959 section 4.1.3, RFC 3659)
    _row("RETR", REQUIRED, READ, IN, _DATA | {554}, "RETR path: send the file",
         manner=TRANSFER),
    _row("STOR", REQUIRED, WRITE, IN, _STORE | {554}, "STOR path: take a file", manner=TRANSFER),
    _row("STOU", OPTIONAL, WRITE, IN, _STORE, "STOU: take a file, and give it a new name",
         manner=TRANSFER),
    _row("APPE", REQUIRED, WRITE, IN, _STORE, "APPE path: take what comes at the file's end",
         manner=TRANSFER),
    _row("LIST", OPTIONAL, LIST, IN, _DATA, "LIST [path]: a folder as ls -l", manner=TRANSFER),
    _row("NLST", OPTIONAL, LIST, IN, _DATA, "NLST [path]: the names in a folder", manner=TRANSFER),
    _row("MLSD", OPTIONAL, LIST, IN, _DATA | {501}, "MLSD [path]: a folder for programs",
         manner=TRANSFER),
    _row("ALLO", REQUIRED, None, IN, {202}, "ALLO bytes: how much will come",
         arguments.parse_allo),
    _row("REST", REQUIRED, None, IN, {350, 554}, "REST offset: where the transfer begins",
         arguments.parse_offset),
    _row("RANG", REQUIRED, None, IN, {350}, "RANG first last: which bytes", arguments.parse_range),
    _row("ABOR", NONE, None, ANY_STAGE, {225, 226}, "ABOR: end the transfer",
         manner=Manner.ABORTING),
    # Files (RFC 959 section 4.1.3, RFC 3659)
    _row("RNFR", REQUIRED, Rights.RENAME, IN, {350, 450, 550}, "RNFR path: rename this"),
    _row("RNTO", REQUIRED, Rights.RENAME, RENAMING, {250, 450, 452, 550, 552, 553}, "RNTO path"),
    _row("DELE", REQUIRED, Rights.DELETE, IN, {250, 450, 550}, "DELE path: remove the file"),
    _row("RMD", REQUIRED, FOLDERS, IN, {250, 450, 550}, "RMD path: remove the folder"),
    _row("XRMD", REQUIRED, FOLDERS, IN, {250, 450, 550}, "XRMD path: as RMD"),
    _row("MKD", REQUIRED, FOLDERS, IN, {257, 450, 452, 550, 552, 553}, "MKD path: make a folder"),
    _row("XMKD", REQUIRED, FOLDERS, IN, {257, 450, 452, 550, 552, 553}, "XMKD path: as MKD"),
    _row("PWD", NONE, None, IN, {257, 550}, "PWD: the folder's path"),
    _row("XPWD", NONE, None, IN, {257, 550}, "XPWD: as PWD"),
    _row("SIZE", REQUIRED, LOOK, IN, {213, 450, 550}, "SIZE path: the file's bytes"),
    _row("MDTM", REQUIRED, LOOK, IN, {213, 450, 550}, "MDTM path: when it was modified"),
    _row("MFMT", REQUIRED, Rights.CHANGE, IN, {213, 450, 550}, "MFMT time path: set that",
         arguments.parse_file_time),
    _row("MLST", OPTIONAL, LIST, IN, {250, 450, 550}, "MLST [path]: one file for programs"),
    _row("HASH", REQUIRED, READ, IN, {213, 450, 550, 551, 552, 556}, "HASH path: the file's digest",
         manner=TRANSFER),
    # Everything else
    STAT,
    SITE,
    _row("SYST", NONE, None, ANY_STAGE, {215}, "SYST: the kind of system"),
    _row("HELP", OPTIONAL, None, ANY_STAGE, {211, 214}, "HELP [command]"),
    _row("NOOP", NONE, None, ANY_STAGE, {200}, "NOOP: nothing", manner=MEANWHILE),
    _row("FEAT", NONE, None, ANY_STAGE, {211}, "FEAT: what is offered beyond RFC 959"),
    _row("OPTS", REQUIRED, None, ANY_STAGE, {200, 451}, "OPTS UTF8|MLST|HASH options"),
    _row("CLNT", REQUIRED, None, ANY_STAGE, {200}, "CLNT name: the client's program"),
    _row("LANG", OPTIONAL, None, ANY_STAGE, {200, 504}, "LANG [EN]", arguments.parse_language),
    # RFC 2228's commands for mechanisms that TLS is none of.
    _row("ADAT", REQUIRED, None, ANY_STAGE, {502}, "ADAT: not offered"),
    _row("MIC", REQUIRED, None, ANY_STAGE, {502}, "MIC: not offered"),
    _row("CONF", REQUIRED, None, ANY_STAGE, {502}, "CONF: not offered"),
    _row("ENC", REQUIRED, None, ANY_STAGE, {502}, "ENC: not offered"),
)

SITE_TABLE: tuple[Row, ...] = (
    _row("SITE CHMOD", REQUIRED, Rights.CHANGE, IN, {200, 450, 550}, "SITE CHMOD mode path",
         arguments.parse_file_mode),
    _row("SITE UTIME", REQUIRED, Rights.CHANGE, IN, {200, 450, 550}, "SITE UTIME time path",
         arguments.parse_file_time),
    _row("SITE HELP", OPTIONAL, None, IN, {214}, "SITE HELP"),
)
# fmt: on

ROWS: dict[str, Row] = {row.verb: row for row in TABLE}
_ROWS_BY_BYTES: dict[bytes, Row] = {row.verb.encode(): row for row in TABLE}
SITE_ROWS: dict[str, Row] = {row.verb.removeprefix("SITE "): row for row in SITE_TABLE}
NOT_OFFERED = frozenset(row.verb for row in TABLE if row.codes == {502})
ALL_VERBS = frozenset([*ROWS, *(row.verb for row in SITE_TABLE)])
# What is left before a verb of IAC IP IAC DM where urgent bytes are missing (telnet.py).
_TELNET_REMAINS = bytes(range(0xF0, 0x100))


def split_line(line: bytes) -> tuple[Row | None, str]:
    """The row of a line's verb, None if there is none, and the argument.

    One blank is between them, as RFC 3659 section 2.2 has it; a name may begin with another.
    """
    verb, _, rest = line.partition(b" ")
    row = _ROWS_BY_BYTES.get(verb)
    if row is None:
        row = _ROWS_BY_BYTES.get(verb.lstrip(_TELNET_REMAINS).upper())
    if not rest or row is None:
        return row, ""
    argument = rest.decode("utf-8", "surrogateescape")
    if row is SITE:
        word, _, rest_of_it = argument.partition(" ")
        site_row = SITE_ROWS.get(word.upper())
        return (SITE_UNKNOWN, argument) if site_row is None else (site_row, rest_of_it)
    return (STAT_PATH if row is STAT else row), argument
