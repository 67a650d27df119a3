"""The answers for which no file, no clock and no other connection is needed: the core's own.

Each takes the setup, the state and a command that is well formed, in order and permitted, changes
the state, and returns the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.serve.ftp.commands import NOT_OFFERED, ROWS, SITE_TABLE, Command
from headrace.serve.ftp.facts import feature_of_facts, format_facts, select_facts
from headrace.serve.ftp.replies import Reply, path_reply, reply, reply_lines
from headrace.serve.ftp.session_state import HASHES, State
from headrace.serve.ftp.states import Channel
from headrace.serve.limits import Limits

TLS_VERBS = frozenset(["AUTH", "PBSZ", "PROT", "CCC"])
HELP_COLUMNS = 8
PENDING_BYTES_MAX = 65536


@dataclass(frozen=True, slots=True)
class Setup:
    """What all sessions of a server have in common: limits, and what is offered."""

    line_bytes_max: int = 8192
    """A command, without its line feed."""
    pending_bytes_max: int = PENDING_BYTES_MAX
    """What may lie unread in one session; a client that sends more before the answers is cut
    off."""
    commands_waiting_max: int = 32
    """Commands that wait for a transfer's end while ABOR behind them is still found; if they have
    `line_bytes_max` together, no more are looked at either."""
    tls: bool = False
    """AUTH is offered."""
    tls_required: bool = False
    """No login without TLS."""
    mode_z: bool = False
    """MODE Z is offered."""
    verbs_refused: frozenset[str] = field(default=frozenset())
    """Answered with 502, and not named by FEAT."""

    @classmethod
    def of(cls, limits: Limits, *, tls: bool = False, tls_required: bool = False) -> Setup:
        """As the server's limits have it."""
        return cls(
            line_bytes_max=limits.line_bytes_max,
            pending_bytes_max=max(PENDING_BYTES_MAX, 4 * limits.line_bytes_max),
            commands_waiting_max=limits.commands_queued_max,
            tls=tls,
            tls_required=tls_required,
        )

    def offers(self, verb: str) -> bool:
        if verb in NOT_OFFERED or verb in self.verbs_refused:
            return False
        return self.tls or verb not in TLS_VERBS


Answer = Callable[[Setup, State, Command], Reply]

OK = reply(200, "OK")
SYSTEM = reply(215, "UNIX Type: L8")
SUPERFLUOUS = reply(202, "Not needed here")
NO_TLS_YET = reply(503, "AUTH TLS first")


def _ok(setup: Setup, state: State, command: Command) -> Reply:
    return OK


def _superfluous(setup: Setup, state: State, command: Command) -> Reply:
    return SUPERFLUOUS


def _system(setup: Setup, state: State, command: Command) -> Reply:
    return SYSTEM


def _host(setup: Setup, state: State, command: Command) -> Reply:
    # One site, by whatever name the client found it; RFC 7151 section 3.2 has 220 for a host that
    # is served here.
    return reply(220, "Host accepted")


def _working_folder(setup: Setup, state: State, command: Command) -> Reply:
    return path_reply(257, state.folder, "is the current folder")


def _type(setup: Setup, state: State, command: Command) -> Reply:
    state.type = command.value
    return OK


def _mode(setup: Setup, state: State, command: Command) -> Reply:
    if command.value == "Z" and not setup.mode_z:
        return reply(504, "The mode is S")
    state.mode = command.value
    return OK


def _restart(setup: Setup, state: State, command: Command) -> Reply:
    state.restart_offset = command.value
    state.range = None
    return reply(350, f"The transfer will begin at {command.value}")


def _range(setup: Setup, state: State, command: Command) -> Reply:
    state.restart_offset = 0
    state.range = command.value
    if command.value is None:
        return reply(350, "Whole files again")
    return reply(350, f"Bytes from {command.value.first} to {command.value.last}")


def _buffer_size(setup: Setup, state: State, command: Command) -> Reply:
    if state.channel is Channel.CLEAR:
        return NO_TLS_YET
    # TLS has no buffer size of FTP's; PBSZ 0 has to come all the same (RFC 4217 section 8).  To
    # another size a server answers with the one that it takes (RFC 2228 section 3).
    return reply(200, "PBSZ=0")


def _protection(setup: Setup, state: State, command: Command) -> Reply:
    if state.channel is Channel.CLEAR:
        return NO_TLS_YET
    if state.channel is not Channel.SIZED:
        return reply(503, "PBSZ 0 first")
    state.protected = command.value
    return reply(200, "Data connections are " + ("encrypted" if command.value else "in the clear"))


def _clear_channel(setup: Setup, state: State, command: Command) -> Reply:
    # What follows CCC could be injected by whoever sits on the path (RFC 4217 section 12.3).
    if state.channel is Channel.CLEAR:
        return reply(533, "There is nothing to clear")
    return reply(534, "The control connection stays encrypted")


def _extended_only(setup: Setup, state: State, command: Command) -> Reply:
    return reply(200, "EPSV only from now on")


def _language(setup: Setup, state: State, command: Command) -> Reply:
    return reply(200, "Answers are in English")


def _features(setup: Setup, state: State, command: Command) -> Reply:
    """RFC 2389 section 3; a feature's name is its command's, or what its RFC says."""
    lines = {
        "AUTH": "AUTH TLS",
        "CLNT": "CLNT",
        "EPRT": "EPRT",
        "EPSV": "EPSV",
        "HASH": "HASH " + ";".join(f"{name}{'*' * (name == state.hash_name)}" for name in HASHES),
        "HOST": "HOST",
        "LANG": "LANG EN*",
        "MDTM": "MDTM",
        "MFMT": "MFMT",
        "MLST": feature_of_facts(state.facts),
        "PBSZ": "PBSZ",
        "PROT": "PROT",
        "RANG": "RANG STREAM",
        "REST": "REST STREAM",
        "SIZE": "SIZE",
    }
    offered = [line for verb, line in lines.items() if setup.offers(verb)]
    # TVFS: paths have "/" between names, as RFC 3659 section 6 wants them.
    offered += ["TVFS", "UTF8", *(["MODE Z"] if setup.mode_z else [])]
    return reply_lines(211, "Extensions supported:", offered, "End")


def _help(setup: Setup, state: State, command: Command) -> Reply:
    topic = command.argument.strip().upper()
    if topic == "SITE":
        return _site_help(setup, state, command)
    if not topic:
        return _help_all(setup)
    row = ROWS.get(topic)
    if row is None:
        return reply(501, "There is no such command")
    return reply(214, row.help if setup.offers(topic) else f"{topic}: not offered")


def _help_all(setup: Setup) -> Reply:
    verbs = sorted(verb for verb in ROWS if setup.offers(verb))
    lines = [
        " ".join(f"{verb:4}" for verb in verbs[at : at + HELP_COLUMNS])
        for at in range(0, len(verbs), HELP_COLUMNS)
    ]
    return reply_lines(214, "Commands:", lines, "HELP command says more")


def _site_help(setup: Setup, state: State, command: Command) -> Reply:
    offered = [row.help for row in SITE_TABLE if setup.offers(row.verb)]
    return reply_lines(214, "SITE commands:", offered, "End")


def _options(setup: Setup, state: State, command: Command) -> Reply:
    """OPTS (RFC 2389 section 4): 501 for what has no options, 451 not needed."""
    verb, _, words = command.argument.strip().partition(" ")
    match verb.upper():
        case "UTF8" | "UTF-8":
            if words.strip().upper() in ("", "ON", "NLST"):
                return reply(200, "Names are UTF-8")
            return reply(504, "Names are always UTF-8")
        case "MLST" if setup.offers("MLST"):
            state.facts = select_facts(words)
            return reply(200, f"MLST OPTS {format_facts(state.facts)}".rstrip())
        case "HASH" if setup.offers("HASH"):
            return _hash_option(state, words.strip().upper())
    return reply(501, "OPTS takes UTF8, MLST or HASH")


def _hash_option(state: State, name: str) -> Reply:
    if name and name not in HASHES:
        return reply(504, f"The algorithms are {', '.join(HASHES)}")
    state.hash_name = name or state.hash_name
    return reply(200, state.hash_name)


ANSWERS: dict[str, Answer] = {
    "ACCT": _superfluous,
    "ALLO": _superfluous,
    "CCC": _clear_channel,
    "CLNT": _ok,
    "EPSV ALL": _extended_only,
    "FEAT": _features,
    "HELP": _help,
    "HOST": _host,
    "LANG": _language,
    "MODE": _mode,
    "NOOP": _ok,
    "OPTS": _options,
    "PBSZ": _buffer_size,
    "PROT": _protection,
    "PWD": _working_folder,
    "RANG": _range,
    "REST": _restart,
    "SITE HELP": _site_help,
    "STRU": _ok,
    "SYST": _system,
    "TYPE": _type,
    "XPWD": _working_folder,
}
