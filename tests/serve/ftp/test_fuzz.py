"""Anything a client may send, cut anywhere: HEADRACE_FUZZ_CASES cases of each test here.

    HEADRACE_FUZZ_CASES=100000 pytest tests/serve/ftp/test_fuzz.py     # some minutes

With the variable set the cases are others each time, and a failure prints how to repeat it.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.serve.ftp.commands import COMMON, ROWS, SITE_TABLE, Command
from headrace.serve.ftp.core import Core, Setup
from headrace.serve.ftp.replies import Reply
from headrace.serve.ftp.states import Stage
from headrace.serve.users import Rights, User

CASES = os.environ.get("HEADRACE_FUZZ_CASES")
fuzz = settings(
    max_examples=int(CASES or 200),
    derandomize=CASES is None,
    print_blob=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

LINE_BYTES_MAX, PENDING_BYTES_MAX, WAITING_MAX = 64, 2048, 4
SETUP = Setup(
    line_bytes_max=LINE_BYTES_MAX,
    pending_bytes_max=PENDING_BYTES_MAX,
    commands_waiting_max=WAITING_MAX,
    tls=True,
    mode_z=True,
)
VERBS = [*ROWS, *(row.verb for row in SITE_TABLE), "XYZZY", ""]
ARGUMENTS = [
    "", "a", "/a/b c", "127,0,0,1,4,1", "|1|127.0.0.1|1025|", "|2|::1|1|", "ALL", "1", "0", "A",
    "I", "L 8", "S", "Z", "F", "P", "C", "TLS", "5 9", "1 0", "99999999999999999999", "UTF8 ON",
    "-la *.x", "MLST type;size", "HASH MD5", "20260102030405 a", "644 a", "EN",
    "nul\0", "é", "\udcff", "a\rb",
]  # fmt: skip
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]

lines = st.builds(
    lambda verb, lower, argument, end: (
        ((verb.lower() if lower else verb) + (" " + argument if argument else "")).encode(
            "utf-8", "surrogateescape"
        )
        + end
    ),
    st.sampled_from(VERBS),
    st.booleans(),
    st.sampled_from(ARGUMENTS)
    | st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace").decode()),
    st.sampled_from(ENDS),
)
telnet = st.lists(
    st.sampled_from([255, 255, 255, 244, 242, 254, 253, 252, 251, 250, 240, 1, 10, 65]), max_size=6
).map(bytes)
logins = st.just(b"USER anne\r\nPASS secret\r\n")
pieces = st.one_of(
    lines,
    lines,
    lines,
    logins,
    telnet,
    st.binary(max_size=20),
    st.integers(1, 3 * LINE_BYTES_MAX).map(lambda count: b"x" * count),
)
streams = st.lists(pieces, max_size=12)


class Session:
    """Answers what the core hands out, each time with another of the codes that the row allows."""

    def __init__(self) -> None:
        self.core = Core(SETUP)
        self.log: list[Any] = []
        self.answered = 0
        self.auth_allowed = True

    def code_of(self, command: Command) -> int:
        self.answered += 1
        if command.verb == "AUTH" and not self.auth_allowed:
            return 504
        if command.verb == "USER":
            return 331
        if command.verb == "PASS":
            return 230
        codes = sorted(code for code in command.row.codes if code >= 200)
        return codes[self.answered % len(codes)]

    def complete(self, command: Command) -> None:
        code = self.code_of(command)
        if command.verb == "PASS":
            self.core.state.log_in(User("anne", "/", Rights.ALL))
        if command.verb == "RNFR" and code == 350:
            self.core.state.rename_from = "/a"
        if 150 in command.row.codes:
            self.core.completed(command, 150)
        self.core.completed(command, code)
        if command.verb == "AUTH" and code == 234:
            self.core.tls_begun()

    def check(self) -> None:
        core, state = self.core, self.core.state
        assert core.pending_bytes <= PENDING_BYTES_MAX
        waiting = [line for line in core._waiting or () if isinstance(line, bytes)]
        assert len(core._waiting or ()) <= WAITING_MAX
        assert sum(map(len, waiting)) < 2 * LINE_BYTES_MAX
        assert (state.stage in (Stage.GREETED, Stage.NAMED)) == (state.user is None) or (
            core.running is not None and core.running.verb in ("USER", "PASS")
        )
        assert state.rename_from is None or state.stage is Stage.RENAMING
        assert not (state.restart_offset or state.range) or state.stage is Stage.POSITIONED

    def take(self) -> Command | Reply | None:
        item = self.core.next_command()
        if isinstance(item, Reply):
            check_reply(item)
            self.log.append((item.code, item.data))
        elif item is not None:
            assert item.row.verb == item.verb
            self.log.append((item.verb, item.argument, item.value))
        return item

    def drain(self) -> None:
        """At once with everything, as if nothing took any time."""
        while (item := self.take()) is not None:
            if isinstance(item, Command):
                self.complete(item)
            self.check()


def check_reply(reply: Reply) -> None:
    if reply.code == 0:
        assert reply.data[:1] == b"\xff"
        return
    assert reply.code in COMMON or 200 <= reply.code < 600
    lines = reply.data.split(b"\r\n")
    assert lines.pop() == b""
    assert lines[-1].startswith(b"%d " % reply.code)
    assert not any(byte < 32 or byte == 127 for line in lines for byte in line)


def play(data: bytes, step: int) -> Session:
    session = Session()
    session.auth_allowed = False  # what is dropped after it depends on how it is cut
    for at in range(0, len(data), step):
        session.core.receive(data[at : at + step])
        session.drain()
        assert session.core.pending_bytes <= LINE_BYTES_MAX + 1
        assert not session.core.paused
    return session


def without_telnet(log: list[Any]) -> list[Any]:
    # Telnet's refusals go out as soon as can be, which is earlier byte by byte.
    return [entry for entry in log if entry[0] != 0]


@fuzz
@given(streams, st.integers(2, 9))
def test_core_does_the_same_however_the_bytes_are_cut(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)[: PENDING_BYTES_MAX - 1]
    whole = play(data, len(data) or 1)
    for step_bytes in (1, step):
        cut = play(data, step_bytes)
        assert without_telnet(cut.log) == without_telnet(whole.log)
        assert repr(cut.core) == repr(whole.core)


@fuzz
@given(streams, streams)
def test_core_leaves_what_comes_behind(parts: list[bytes], behind: list[bytes]) -> None:
    first, second = b"".join(parts) + b"\n", b"".join(behind)
    data = first[: PENDING_BYTES_MAX // 2] + second[: PENDING_BYTES_MAX // 2]
    whole = play(data, len(data))
    cut = play(data, len(first))
    assert without_telnet(cut.log) == without_telnet(whole.log)


ACTIONS = st.one_of(
    pieces,
    pieces,
    st.sampled_from(["take", "take", "complete", "complete meanwhile", "repeat"]),
)


@fuzz
@given(st.lists(ACTIONS, max_size=40))
def test_core_bears_a_session_that_takes_its_time(actions: list[bytes | str]) -> None:
    session = Session()
    core = session.core
    last = b"RETR a\r\n"
    for action in actions:
        if isinstance(action, bytes):
            last = action
            core.receive(action)
        elif action == "repeat":
            core.receive(last * 30)
        elif action == "take":
            session.take()
        elif action == "complete" and core._running is not None:
            session.complete(core._running)
        elif action == "complete meanwhile" and core._meanwhile is not None:
            session.complete(core._meanwhile)
        session.check()
    finish(session)


def finish(session: Session) -> None:
    """In the end everything is answered, and nothing is kept but an unfinished line."""
    core = session.core
    for command in (core._meanwhile, core._running):
        if command is not None:
            session.complete(command)
    session.drain()
    assert core._running is core._meanwhile is None
    assert not core._waiting
    assert core.pending_bytes <= LINE_BYTES_MAX + 1
    assert not core.paused


@fuzz
@given(st.lists(st.sampled_from(["ABOR", "STAT", "NOOP", "QUIT", "DELE a", "RETR b"]), max_size=30))
def test_core_answers_each_command_once(said: list[str]) -> None:
    session = Session()
    session.core.receive(b"USER anne\r\nPASS secret\r\n")
    session.drain()
    session.core.receive(b"RETR a\r\n")
    session.take()
    session.log.clear()
    session.core.receive(b"".join(line.encode() + b"\r\n" for line in said))
    while session.core._running is not None:
        while isinstance(item := session.take(), Command) or session.core._meanwhile is not None:
            session.complete(item or session.core._meanwhile)  # type: ignore[arg-type]
        if session.core._running is not None:
            session.complete(session.core._running)
        session.take()
    session.drain()
    heard = [entry[0] for entry in session.log]
    assert sorted("NOOP" if verb == 200 else str(verb) for verb in heard) == sorted(
        line.split()[0] for line in said
    )
