"""The FTP server's protocol, without sockets, files and clocks.

    core.receive(data)                    # whatever came, cut wherever
    while (item := core.next_command()) is not None:
        if isinstance(item, Reply): write(item.data); continue
        ...                               # carry it out, at once or later
        write(answer); core.completed(item, code)

A command that is handed out runs until completed() has been told its final code; the next one is
handed out after that, so call next_command() again then.  During a transfer (and HASH) three are
handed out or answered meanwhile: ABOR, whatever waits before it; STAT and NOOP, if nothing does.
QUIT waits in its turn, which is what RFC 959 section 4.1.1 asks for: "if file transfer is in
progress, the connection will remain open for result response and the server will then close it".

The core answers by itself what is malformed, out of order, not permitted or not offered, and what
needs nothing but its state (answers.py).

What is kept is bounded: lines and their sum (lines.py), commands that wait for a transfer's end.
`paused` says when the session should not read on; a client that sends more than may lie unread
gets 421.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.serve.ftp.answers import ANSWERS, Answer, Setup
from headrace.serve.ftp.arguments import BadArgument
from headrace.serve.ftp.commands import (
    ALL_VERBS,
    Argument,
    Command,
    Manner,
    Row,
    split_line,
)
from headrace.serve.ftp.lines import Lines
from headrace.serve.ftp.replies import Reply, reply
from headrace.serve.ftp.session_state import State
from headrace.serve.ftp.states import (
    CHANNELS,
    IN,
    OUT,
    PASSAGES,
    STAGES,
    Channel,
    Passage,
    Stage,
    expand,
)

__all__ = ["Command", "Core", "Reply", "Setup", "State"]

NEXT_STAGE = expand(STAGES, ALL_VERBS)
NEXT_CHANNEL = expand(CHANNELS, ALL_VERBS)
NEXT_PASSAGE = expand(PASSAGES, ALL_VERBS)
_ON_OTHER_MACHINES = frozenset(verb for _, verb, _ in [*NEXT_CHANNEL, *NEXT_PASSAGE])
_BEGIN_ANEW = frozenset(["REIN", "AUTH"])

UNKNOWN = reply(500, "Unknown command")
NOT_THAT = reply(502, "Not offered")
NO_LOGIN = reply(530, "Log in with USER and PASS first")
BAD_ORDER = reply(503, "Out of order")
NO_ARGUMENT = reply(501, "No argument is taken")
ARGUMENT_MISSING = reply(501, "An argument is missing")
NUL = reply(501, "No name has a NUL")
NO_RIGHT = reply(550, "Permission denied")
EPSV_ONLY = reply(503, "Only EPSV, after EPSV ALL")
TLS_THERE = reply(503, "The connection is encrypted already")
TLS_FIRST = reply(530, "AUTH TLS first")
FLOOD = reply(421, "Too much was sent before the answers")


class Core:
    """One control connection's protocol.  Never does I/O, never raises for what a client sends."""

    __slots__ = ("_lines", "_meanwhile", "_running", "_waiting", "denied", "setup", "state")

    def __init__(self, setup: Setup, *, tls: bool = False) -> None:
        """`tls`: the connection is encrypted from its beginning (implicit TLS)."""
        self.setup = setup
        self.state = State(Channel.SECURED if tls else Channel.CLEAR)
        self._lines = Lines(setup.line_bytes_max, setup.pending_bytes_max)
        self._waiting: list[bytes | Reply] | None = None  # lines seen during a transfer
        self._running: Command | None = None
        self._meanwhile: Command | None = None
        self.denied: tuple[str, str] | None = None
        """What was refused for want of a right; who has logged it clears it."""

    def __repr__(self) -> str:
        running = [command.verb for command in (self._running, self._meanwhile) if command]
        waiting = len(self._waiting or ())
        return f"<Core {self.state!r} running={running} waiting={waiting} {self._lines!r}>"

    @property
    def running(self) -> Command | None:
        """The command that is not yet completed, a transfer perhaps."""
        return self._running

    def is_running(self, command: Command) -> bool:
        """It has been handed out, beside a transfer perhaps, and is not yet completed."""
        return command is self._running or command is self._meanwhile

    @property
    def pending_bytes(self) -> int:
        """So many bytes lie unread."""
        return self._lines.pending_bytes

    @property
    def paused(self) -> bool:
        """Enough waits: the session should not read on before it has completed what is running.

        Never true while nothing is running and next_command() has returned None.
        """
        return self._lines.full or self._is_waiting_full()

    def receive(self, data: bytes) -> None:
        """Takes what came on the control connection."""
        self._lines.receive(data)

    def next_command(self) -> Command | Reply | None:
        """What is to be carried out or sent next; None: nothing, until more comes or is completed.

        Returns
            Command: well formed, in order, permitted; completed() must follow.
            Reply: to be sent as it is; it `closes` if the connection must end then.
            None: as said.
        """
        lines = self._lines
        if lines.flooded:
            lines.flooded = False
            return FLOOD
        refusals = lines.take_refusals()
        if refusals:
            return Reply(0, refusals)
        if self._meanwhile is not None:
            return None
        if self._running is not None:
            if self._running.row.manner is Manner.TRANSFER:
                return self._next_meanwhile()
            return None
        line = self._next_line()
        if line is None or isinstance(line, Reply):
            return line
        answer = self._judge(line)
        if isinstance(answer, Command):
            self._running = answer
        return answer

    def _next_line(self) -> bytes | Reply | None:
        if self._waiting:
            return self._waiting.pop(0)
        self._waiting = None
        return self._lines.take_line()

    def _next_meanwhile(self) -> Command | Reply | None:
        """Looks through what came during a transfer for what need not wait for its end."""
        if self._waiting is None:
            self._waiting = []
        while not self._is_waiting_full():
            line = self._lines.take_line()
            if line is None:
                break
            if isinstance(line, bytes) and self._need_not_wait(line):
                answer = self._judge(line)
                if isinstance(answer, Command):
                    self._meanwhile = answer
                return answer
            self._waiting.append(line)
        return None

    def _is_waiting_full(self) -> bool:
        """By number, or by bytes: many long lines would cost more than all that may lie unread."""
        waiting = self._waiting
        if not waiting:
            return False
        if len(waiting) >= self.setup.commands_waiting_max:
            return True
        waiting_bytes = sum(len(line) for line in waiting if isinstance(line, bytes))
        return waiting_bytes >= self.setup.line_bytes_max

    def _need_not_wait(self, line: bytes) -> bool:
        row, _ = split_line(line)
        if row is None:
            return False
        return row.manner is Manner.ABORTING or (
            row.manner is Manner.MEANWHILE and not self._waiting
        )

    def _judge(self, line: bytes) -> Command | Reply:
        """A line's command, or why it is none; the core's own answers are given here."""
        row, argument = split_line(line)
        if row is None:
            return UNKNOWN
        refusal = self._refusal(row, argument)
        if refusal is not None:
            if refusal is NO_RIGHT:
                self.denied = (row.verb, argument)
            return refusal
        try:
            value = row.parse(argument)
        except BadArgument as bad:
            return reply(bad.code, bad.text)
        command = Command(row, argument, value)
        answer = ANSWERS.get("EPSV ALL" if value == "ALL" and row.verb == "EPSV" else row.verb)
        if answer is not None:
            return self._answered(answer, command)
        if row.verb == "USER":
            self.state.forget_login()
            self.state.user_name = argument
        return command

    def _answered(self, answer: Answer, command: Command) -> Reply:
        replied = answer(self.setup, self.state, command)
        verb = command.verb
        self._advance("EPSV ALL" if verb == "EPSV" else verb, replied.code)
        return replied

    def _refusal(self, row: Row, argument: str) -> Reply | None:
        """Why the command may not be carried out now."""
        state = self.state
        if not self.setup.offers(row.verb):
            return NOT_THAT
        if state.stage not in row.stages:
            return NO_LOGIN if state.stage in OUT and row.stages <= IN else BAD_ORDER
        if argument:
            if row.argument is Argument.NONE:
                return NO_ARGUMENT
            if "\0" in argument:
                return NUL
        elif row.argument is Argument.REQUIRED:
            return ARGUMENT_MISSING
        if row.permission is not None and not state.has(row.permission):
            return NO_RIGHT
        check = CHECKS.get(row.verb)
        return None if check is None else check(self.setup, state)

    def completed(self, command: Command, code: int) -> None:
        """The session has answered a command.  A code below 200 says that more will follow.

        Raises
            ValueError: the command is not running; the session's mistake.
        """
        if command is self._running:
            if code >= 200:
                self._running = None
        elif command is self._meanwhile:
            if code >= 200:
                self._meanwhile = None
        else:
            raise ValueError(f"{command!r} is not running")
        if code >= 200:
            self._advance(command.verb, code)

    def _advance(self, verb: str, code: int) -> None:
        """Moves the machines, and forgets what is not for the stage that follows."""
        state = self.state
        digit = code // 100
        before = state.stage
        after = NEXT_STAGE.get((before, verb, digit), before)
        if after is not before:
            state.stage = after
            if before is Stage.POSITIONED:
                state.forget_position()
            elif before is Stage.RENAMING:
                state.rename_from = None
        if verb in _ON_OTHER_MACHINES:
            if digit == 2 and verb in _BEGIN_ANEW:
                state.reinitialize()
            state.channel = NEXT_CHANNEL.get((state.channel, verb, digit), state.channel)
            state.passage = NEXT_PASSAGE.get((state.passage, verb, digit), state.passage)
            if digit == 2 and verb == "AUTH":
                self._lines.stop_hearing()
                self._waiting = None

    def tls_begun(self) -> None:
        """What comes from now on has come through TLS.

        Between the answer 234 to AUTH and this call all that is received is dropped, and what had
        come behind AUTH in the clear was: nobody on the path can put commands before the client's
        own (CVE-2011-0411 was that in SMTP).

        Call it right before `await loop.start_tls(...)`, with no await in between: start_tls() has
        taken the connection from its protocol before it waits for anything, so nothing in the
        clear can come any more.  After the await is too late.  With TLS 1.3 a client's first
        command may be in one segment with the end of its handshake, and then data_received() is
        called with it before start_tls() returns.
        """
        self._lines.hear_again()


def _check_user(setup: Setup, state: State) -> Reply | None:
    return TLS_FIRST if setup.tls_required and state.channel is Channel.CLEAR else None


def _check_auth(setup: Setup, state: State) -> Reply | None:
    return None if state.channel is Channel.CLEAR else TLS_THERE


def _check_passage(setup: Setup, state: State) -> Reply | None:
    return EPSV_ONLY if state.passage is Passage.EXTENDED_ONLY else None


def _check_site(setup: Setup, state: State) -> Reply | None:
    return UNKNOWN


CHECKS: dict[str, Callable[[Setup, State], Reply | None]] = {
    "USER": _check_user,
    "AUTH": _check_auth,
    "PORT": _check_passage,
    "PASV": _check_passage,
    "EPRT": _check_passage,
    "SITE": _check_site,
}
