"""`headrace passwd`: one line of the file of users, and nothing else in it, is changed."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys

import pytest

from headrace.serve.users import Rights, User, Users


def text_of(folder) -> str:
    return (folder / "users").read_text()


def users_of(folder) -> dict[str, User]:
    return {user.name: user for user in Users.load(folder / "users")}


def test_passwd_makes_the_file_and_a_user_who_can_log_in(headrace, folder):
    outcome = headrace("passwd", "users", "joe", "--stdin", stdin="secret word\n")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    known = Users.load(folder / "users")
    assert known.verify("joe", "secret word") == User("joe", "/", Rights.READ_ONLY)
    assert known.verify("joe", "secret word\n") is None
    assert stat.S_IMODE((folder / "users").stat().st_mode) == 0o600
    assert "secret" not in text_of(folder)
    assert os.listdir(folder) == ["users"]


def test_passwd_says_home_rights_rate_and_quota(headrace, folder):
    words = ["--home", "/homes/joe", "--rights", "lrc", "--rate", "64K", "--quota", "2G"]
    assert headrace("passwd", "users", "joe", "--stdin", *words, stdin="x\n").returncode == 0
    rights = Rights.LIST | Rights.READ | Rights.CREATE
    assert users_of(folder)["joe"] == User("joe", "/homes/joe", rights, 65_536, 2 * 2**30)
    assert headrace("passwd", "users", "joe", "--keep", "--rate", "off").returncode == 0
    assert users_of(folder)["joe"] == User("joe", "/homes/joe", rights, None, 2 * 2**30)
    assert Users.load(folder / "users").verify("joe", "x") is not None


def test_passwd_changes_one_line_and_leaves_the_others_as_they_are(headrace, folder):
    assert headrace("passwd", "users", "joe", "--stdin", stdin="x\n").returncode == 0
    before = f"# mine \n\nann:!\n{text_of(folder).splitlines()[1]}\n  # joe: no line\nbob:!:/b:rw"
    (folder / "users").write_text(before)
    (folder / "users").chmod(0o640)
    assert headrace("passwd", "users", "joe", "--keep", "--rights", "rw").returncode == 0
    lines = text_of(folder).splitlines()
    assert lines[:3] == ["# mine ", "", "ann:!"]
    assert lines[3].startswith("joe:scrypt$")
    assert lines[4:] == ["  # joe: no line", "bob:!:/b:rw"]
    assert stat.S_IMODE((folder / "users").stat().st_mode) == 0o640
    assert users_of(folder)["joe"].rights == Rights.ALL


def test_passwd_locks_and_deletes(headrace, folder):
    for name in ("joe", "ann"):
        assert headrace("passwd", "users", name, "--stdin", stdin="x\n").returncode == 0
    assert headrace("passwd", "users", "joe", "--lock").returncode == 0
    known = Users.load(folder / "users")
    assert known.verify("joe", "x") is None
    assert set(users_of(folder)) == {"joe", "ann"}
    assert headrace("passwd", "users", "joe", "--delete").returncode == 0
    assert set(users_of(folder)) == {"ann"}
    for what in ("--lock", "--keep", "--delete"):
        outcome = headrace("passwd", "users", "nobody", what)
        assert outcome.returncode == 1
        assert outcome.stderr == "headrace passwd: users: there is no user 'nobody'\n"


def test_link_to_the_file_stays_a_link(headrace, folder):
    (folder / "there").mkdir()
    (folder / "users").symlink_to("there/real")
    assert headrace("passwd", "users", "joe", "--stdin", stdin="x\n").returncode == 0
    assert (folder / "users").is_symlink()
    assert os.listdir(folder / "there") == ["real"]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ([], 2, "required: FILE, NAME"),
        (["users", "a:b", "--stdin"], 2, "a character that none may have"),
        (["users", "anonymous", "--stdin"], 2, "--anonymous"),
        (["users", "joe", "--rights", "x"], 2, "rights 'x': ro, rw"),
        (["users", "joe", "--home", "x"], 2, "must begin with /"),
        (["users", "joe", "--home", "/x\nroot:!:/"], 2, "a character that none may have"),
        (["users", "joe", "--home", "/\udcff"], 2, "a character that none may have"),
        (["users", "joe", "--rate", "fast"], 2, "--rate: 'fast' is no number of bytes"),
        (["users", "joe", "--stdin", "--keep"], 2, "not allowed with"),
        (["users", "joe", "--delete", "--rate", "1"], 2, "--delete goes with no other"),
        (["users", "joe", "--delete"], 1, "there is no user 'joe'"),
        (["users", "joe", "--keep"], 1, "there is no user 'joe'"),
        (["users", "joe", "--stdin"], 1, "1 to 1,024 bytes"),
        (["nowhere/users", "joe", "--stdin"], 1, "nowhere/users: No such file"),
        (["users", "joe"], 1, "no terminal"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line_and_changes_nothing(headrace, folder, words, code, why):
    command = [sys.executable, "-m", "headrace", "passwd", *words]
    # Of a session of its own, it has no terminal to ask.
    ended = subprocess.run(
        command, input="", capture_output=True, text=True, start_new_session=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert ended.returncode == code
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("headrace passwd: ")
    assert why in ended.stderr
    assert os.listdir(folder) == []


def test_broken_file_is_named_with_its_line_and_left_alone(headrace, folder):
    (folder / "users").write_text("joe:secret\n")
    outcome = headrace("passwd", "users", "joe", "--stdin", stdin="x\n")
    assert outcome.returncode == 1
    assert "users:1: hash: not of the form" in outcome.stderr
    assert text_of(folder) == "joe:secret\n"


def at_a_terminal(folder, *answers: str) -> tuple[int, str]:
    """Exit code and what the terminal shows, if each question is answered so."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            os.execv(sys.executable, [sys.executable, "-m", "headrace", "passwd", "users", "joe"])
        finally:
            os._exit(127)
    shown = b""
    left = list(answers)
    try:
        while True:
            try:
                read = os.read(terminal, 1000)
            except OSError:  # EIO: it has ended
                break
            if not read:
                break
            shown += read
            if shown.rstrip(b" ").endswith(b":") and left:
                os.write(terminal, left.pop(0).encode() + b"\n")
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_password_is_asked_for_twice_and_never_shown(folder):
    code, shown = at_a_terminal(folder, "hidden word", "hidden word")
    assert code == 0, shown
    assert "New password of joe:" in shown
    assert "hidden" not in shown
    assert Users.load(folder / "users").verify("joe", "hidden word") is not None


def test_two_different_answers_change_nothing(folder):
    code, shown = at_a_terminal(folder, "one", "other")
    assert code == 1
    assert "not the same" in shown
    assert os.listdir(folder) == []
