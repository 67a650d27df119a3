"""What a session has with a core: order, waiting, encryption, limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from headrace.serve.ftp.core import Command, Core, Reply, Setup
from headrace.serve.ftp.states import Channel, Stage
from headrace.serve.limits import Limits


def verbs(items: list[Any]) -> list[str | int]:
    return [item.verb if isinstance(item, Command) else item.code for item in items]


# Login


def test_core_logs_in_by_user_and_pass(driver: Callable[..., Any]) -> None:
    played = driver()
    user = played.do("USER anne", 331)
    assert (user.argument, played.core.state.user_name) == ("anne", "anne")
    assert played.core.state.stage is Stage.NAMED
    played.do("PASS with blanks ", 230)
    assert played.core.state.stage is Stage.LOGGED_IN


def test_core_wants_user_again_after_a_wrong_password(driver: Callable[..., Any]) -> None:
    played = driver()
    played.do("USER anne", 331)
    played.do("PASS wrong", 530)
    assert played.code("PASS again") == 503


def test_core_forgets_the_login_when_user_comes_again(logged_in: Any) -> None:
    state = logged_in.core.state
    state.folder = "/home"
    command = logged_in.command("USER bob")
    assert (state.user, state.rights, state.folder, state.stage) == (None, 0, "/", Stage.GREETED)
    logged_in.core.completed(command, 530)
    assert logged_in.code("PWD") == 530


def test_core_shows_no_password_in_repr(driver: Callable[..., Any]) -> None:
    played = driver()
    played.do("USER anne", 331)
    assert "hidden" not in repr(played.command("PASS hidden"))


def test_core_has_all_as_at_first_after_rein(logged_in: Any) -> None:
    logged_in.code("TYPE I")
    logged_in.code("OPTS MLST size")
    logged_in.code("OPTS HASH MD5")
    logged_in.code("EPSV ALL")
    logged_in.code("REST 5")
    logged_in.do("REIN", 220)
    fresh = Core(Setup()).state
    state = logged_in.core.state
    for name in state.__slots__:
        assert getattr(state, name) == getattr(fresh, name), name


def test_core_hands_out_nothing_while_a_password_is_looked_at(driver: Callable[..., Any]) -> None:
    played = driver()
    played.do("USER anne", 331)
    command = played.command("PASS secret")
    assert played.receive(b"NOOP\r\nABOR\r\n") == []
    played.core.completed(command, 530)
    assert verbs(played.drain()) == [200, "ABOR"]


# Order


def test_core_hands_out_pipelined_commands_one_by_one(logged_in: Any) -> None:
    items = logged_in.receive(b"CWD a\r\nPWD\r\nCWD b\r\n")
    assert verbs(items) == ["CWD"]
    logged_in.core.completed(items[0], 250)
    assert verbs(logged_in.drain()) == [257, "CWD"]


def test_core_keeps_a_command_running_after_a_preliminary_code(logged_in: Any) -> None:
    command = logged_in.command("RETR a")
    logged_in.core.completed(command, 150)
    assert logged_in.core.running is command
    logged_in.core.completed(command, 226)
    assert logged_in.core.running is None


def test_core_refuses_to_complete_what_is_not_running(logged_in: Any) -> None:
    command = logged_in.do("CWD a", 250)
    with pytest.raises(ValueError, match="not running"):
        logged_in.core.completed(command, 250)


def test_core_forgets_rnfr_after_another_command(logged_in: Any) -> None:
    command = logged_in.command("RNFR a")
    logged_in.core.state.rename_from = "/a"
    logged_in.core.completed(command, 350)
    assert logged_in.code("NOOP") == 200
    assert logged_in.core.state.rename_from is None
    assert logged_in.code("RNTO b") == 503


def test_core_has_rename_from_while_rnto_runs(logged_in: Any) -> None:
    command = logged_in.command("RNFR a")
    logged_in.core.state.rename_from = "/a"
    logged_in.core.completed(command, 350)
    command = logged_in.command("RNTO b")
    assert logged_in.core.state.rename_from == "/a"
    logged_in.core.completed(command, 250)
    assert logged_in.core.state.rename_from is None


def test_core_keeps_the_offset_until_the_transfer(logged_in: Any) -> None:
    logged_in.code("REST 100")
    logged_in.code("TYPE I")
    logged_in.do("EPSV", 229)
    logged_in.do("SIZE a", 213)
    command = logged_in.command("RETR a")
    assert logged_in.core.state.restart_offset == 100
    logged_in.core.completed(command, 226)
    assert logged_in.core.state.restart_offset == 0


@pytest.mark.parametrize("line", ["CWD a", "DELE a", "LIST", "MLSD", "RNFR a"])
def test_core_forgets_the_offset_after_what_has_none(logged_in: Any, line: str) -> None:
    logged_in.code("REST 100")
    logged_in.do(line, 250 if line != "RNFR a" else 350)
    assert logged_in.core.state.restart_offset == 0


def test_core_has_a_range_or_an_offset_but_not_both(logged_in: Any) -> None:
    state = logged_in.core.state
    logged_in.code("REST 100")
    logged_in.code("RANG 5 9")
    assert (state.restart_offset, state.range) == (0, (5, 9))
    logged_in.code("REST 7")
    assert (state.restart_offset, state.range) == (7, None)
    logged_in.code("RANG 5 9")
    logged_in.code("RANG 1 0")
    assert (state.restart_offset, state.range) == (0, None)


@pytest.mark.parametrize("line", ["PORT 127,0,0,1,4,1", "PASV", "EPRT |1|127.0.0.1|1025|"])
def test_core_allows_epsv_only_after_epsv_all(logged_in: Any, line: str) -> None:
    assert logged_in.code("epsv all") == 200
    assert logged_in.code(line) == 503
    logged_in.do("EPSV 1", 229)
    logged_in.do("REIN", 220)
    logged_in.log_in()
    logged_in.do(line, 200)


# During a transfer


def test_core_hands_out_abor_before_what_waits(logged_in: Any) -> None:
    retr = logged_in.command("RETR a")
    logged_in.core.completed(retr, 150)
    [abor] = logged_in.receive(b"DELE b\r\nNOOP\r\nABOR\r\nPWD\r\n")
    assert abor.verb == "ABOR"
    logged_in.core.completed(retr, 426)
    assert logged_in.drain() == []
    logged_in.core.completed(abor, 226)
    [dele] = logged_in.drain()
    logged_in.core.completed(dele, 250)
    assert verbs(logged_in.drain()) == [200, 257]


@pytest.mark.parametrize("prefix", [b"\xff\xf4\xff\xf2", b"\xff\xf4\xf2", b"\xf2", b"\xff\xf4\xff"])
def test_core_finds_abor_behind_telnet_signals(logged_in: Any, prefix: bytes) -> None:
    logged_in.command("RETR a")
    assert verbs(logged_in.receive(prefix + b"ABOR\r\n")) == ["ABOR"]


def test_core_answers_stat_and_noop_while_it_transfers(logged_in: Any) -> None:
    logged_in.command("STOR a")
    items = logged_in.receive(b"NOOP\r\nSTAT\r\nNOOP\r\n")
    assert verbs(items) == [200, "STAT"]
    logged_in.core.completed(items[1], 211)
    assert verbs(logged_in.drain()) == [200]


def test_core_lets_quit_wait_for_the_result(logged_in: Any) -> None:
    retr = logged_in.command("RETR a")
    assert logged_in.receive(b"QUIT\r\n") == []
    logged_in.core.completed(retr, 226)
    assert verbs(logged_in.drain()) == ["QUIT"]


def test_core_keeps_the_offset_while_stat_is_answered(logged_in: Any) -> None:
    logged_in.code("REST 9")
    logged_in.command("RETR a")
    logged_in.do("STAT", 211)
    assert logged_in.core.state.restart_offset == 9


def test_core_pauses_when_enough_commands_wait(driver: Callable[..., Any]) -> None:
    played = driver(commands_waiting_max=3, line_bytes_max=600).log_in()
    retr = played.command("RETR a")
    assert played.receive(b"DELE a\r\nDELE b\r\n") == []
    assert not played.core.paused
    assert played.receive(b"DELE c\r\nDELE d\r\nABOR\r\n") == []
    assert played.core.paused
    played.core.completed(retr, 226)
    seen = []
    while items := played.drain():
        seen.append(items[-1].argument or items[-1].verb)
        played.core.completed(items[-1], 250)
    assert seen == ["a", "b", "c", "d", "ABOR"]
    assert not played.core.paused


def test_core_pauses_when_few_long_commands_wait(driver: Callable[..., Any]) -> None:
    played = driver(commands_waiting_max=100, line_bytes_max=600).log_in()
    retr = played.command("RETR a")
    line = b"DELE " + b"x" * 400 + b"\r\n"
    assert played.receive(line) == []
    assert not played.core.paused
    assert played.receive(line * 2 + b"ABOR\r\n") == []
    assert played.core.paused
    assert len(played.core._waiting) == 2
    played.core.completed(retr, 226)
    assert verbs(played.drain()) == ["DELE"]
    assert not played.core.paused


def test_core_does_not_pause_for_a_long_line_that_is_not_whole(driver: Callable[..., Any]) -> None:
    played = driver(line_bytes_max=600)
    assert played.receive(b"x" * 5000) == []
    assert not played.core.paused
    assert verbs(played.receive(b"\r\nNOOP\r\n")) == [500, 200]


def test_core_pauses_while_a_command_runs_and_more_comes(driver: Callable[..., Any]) -> None:
    played = driver(line_bytes_max=600).log_in()
    command = played.command("CWD a")
    played.receive(b"NOOP\r\n" * 200)
    assert played.core.paused
    played.core.completed(command, 250)
    assert verbs(played.drain()) == [200] * 200
    assert not played.core.paused


def test_core_closes_when_too_much_comes_before_the_answers(driver: Callable[..., Any]) -> None:
    played = driver(line_bytes_max=600, pending_bytes_max=2000).log_in()
    command = played.command("CWD a")
    items = played.receive(b"NOOP\r\n" * 400)
    assert verbs(items) == [421]
    assert items[0].closes
    assert played.core.pending_bytes == 0
    played.core.completed(command, 250)
    assert played.receive(b"NOOP\r\n") == []


# Encryption


def test_core_drops_what_came_before_tls_began(driver: Callable[..., Any]) -> None:
    played = driver(tls=False)
    played.core.setup = Setup(tls=True)
    [auth] = played.receive(b"AUTH TLS\r\nUSER evil\r\nPASS evil\r\n")
    played.core.completed(auth, 234)
    assert played.drain() == []
    assert played.receive(b"USER evil\r\n") == []
    played.core.tls_begun()
    assert played.core.pending_bytes == 0
    assert played.command("USER anne").argument == "anne"


def test_core_hears_on_when_auth_was_refused(driver: Callable[..., Any]) -> None:
    played = driver()
    played.core.setup = Setup(tls=True)
    [auth] = played.receive(b"AUTH TLS\r\nNOOP\r\n")
    played.core.completed(auth, 431)
    assert verbs(played.drain()) == [200]
    assert played.core.state.channel is Channel.CLEAR


def encrypted(driver: Callable[..., Any]) -> Any:
    played = driver()
    played.core.setup = Setup(tls=True)
    played.do("AUTH TLS", 234)
    played.core.tls_begun()
    return played


def test_core_wants_a_login_after_auth(driver: Callable[..., Any]) -> None:
    played = driver()
    played.core.setup = Setup(tls=True)
    played.log_in().do("AUTH TLS", 234)
    played.core.tls_begun()
    assert played.code("PWD") == 530
    assert played.core.state.user is None


def test_core_wants_pbsz_before_prot(driver: Callable[..., Any]) -> None:
    played = encrypted(driver)
    state = played.core.state
    assert played.code("PROT P") == 503
    assert played.text("PBSZ 16384") == "200 PBSZ=0\r\n"
    assert not state.protected
    assert played.code("PROT P") == 200
    assert state.protected
    assert played.code("PROT S") == 536
    assert played.code("PROT X") == 504
    assert played.code("PROT C") == 200
    assert not state.protected


def test_core_refuses_auth_twice_and_ccc(driver: Callable[..., Any]) -> None:
    played = encrypted(driver)
    assert played.code("AUTH TLS") == 503
    assert played.code("CCC") == 534


def test_core_begins_encrypted_with_implicit_tls(driver: Callable[..., Any]) -> None:
    core = Core(Setup(tls=True), tls=True)
    assert core.state.channel is Channel.SECURED
    assert core.state.protected


def test_core_lets_nobody_in_without_tls_where_it_is_required(driver: Callable[..., Any]) -> None:
    played = driver()
    played.core.setup = Setup(tls=True, tls_required=True)
    assert played.code("USER anne") == 530
    played.do("AUTH TLS", 234)
    played.core.tls_begun()
    played.do("USER anne", 331)


# Size


def test_setup_takes_the_servers_limits() -> None:
    setup = Setup.of(Limits(line_bytes_max=100_000, commands_queued_max=7), tls=True)
    assert (setup.line_bytes_max, setup.commands_waiting_max, setup.tls) == (100_000, 7, True)
    assert setup.pending_bytes_max == 400_000


def test_core_of_an_idle_session_has_less_than_a_kibibyte(logged_in: Any) -> None:
    core = logged_in.core
    logged_in.do("RETR a", 226)
    parts = [core, core.state, core._lines]
    assert sum(map(sys.getsizeof, parts)) < 1024
    assert not any(hasattr(part, "__dict__") for part in parts)
    assert logged_in.drain() == []
    assert core._waiting is None


def test_reprs_say_how_it_stands(logged_in: Any) -> None:
    logged_in.command("RETR a")
    logged_in.receive(b"DELE b\r\n\xff")
    shown = repr(logged_in.core)
    assert "running=['RETR'] waiting=1" in shown
    assert "logged in" in shown
    assert repr(Reply(200, b"200 OK\r\n")) == "<Reply 200 b'200 OK\\r\\n'>"
