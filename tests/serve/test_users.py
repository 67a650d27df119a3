"""Who may do what: the file of users, and the answers to names and passwords."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve import passwords, users
from headrace.serve.passwords import Cost, Hash, hash_password
from headrace.serve.users import RIGHT_LETTERS, BadUsers, Rights, User, UserLine, Users

QUICK = Cost(n=16, r=1, p=1)
HASH = str(hash_password("right", QUICK))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


def line(*parts: str) -> str:
    return ":".join(["joe", HASH, *parts])


def test_file_says_home_rights_rate_and_quota_of_each_user(file):
    file.write_text(
        f"# comment\n\n  # another\njoe:{HASH}\n"
        f"ann:{HASH}:/homes/ann/:lrcpdnfm:64K:2G\r\n"
        f"sue:{HASH}::rw::\n"
        "bob:!:/:-\n"
    )
    assert list(Users.load(file)) == [
        User("joe", "/", Rights.READ_ONLY),
        User("ann", "/homes/ann", Rights.ALL, 65_536, 2 * 2**30),
        User("sue", "/", Rights.ALL),
        User("bob", "/", Rights(0)),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("joe", "not of the form name:hash"),
        (line("/", "ro", "1", "2", "3"), "not of the form name:hash"),
        ("joe:secret", "hash: not of the form scrypt"),
        (line("home"), "must begin with /"),
        (line("/../x"), "without .."),
        (line("/a\0b"), "a character that none may have in this file"),
        (line("/a\x1b[0m"), "a character that none may have in this file"),
        (line("/", "rx"), "'rx': ro, rw, - or letters of l list"),
        (line("/", "rwx"), "letters"),
        (line("/", "ro", "fast"), "rate: 'fast' is no number of bytes"),
        (line("/", "ro", "0"), "rate: '0' is not from 1"),
        (line("/", "ro", "-5"), "no number of bytes"),
        (line("/", "ro", "", "5X"), "quota: '5X' is no number"),
        (line("/", "ro", "", "9999999T"), "is not from 1"),
        (f":{HASH}", "1 to 64 characters"),
        (f"{'x' * 65}:{HASH}", "1 to 64 characters"),
        (f"a b:{HASH}", "a character that none may have"),
        (f"a\x1b[0m:{HASH}", "a character that none may have"),
        (f"a/b:{HASH}", "a character that none may have"),
        (f"anonymous:{HASH}", "--anonymous admits"),
        (f"ftp:{HASH}", "--anonymous admits"),
    ],
)
def test_wrong_line_is_one_error_with_file_and_line_that_can_be_printed(file, text, why):
    file.write_text(f"# first\n{text}\n")
    with pytest.raises(BadUsers) as caught:
        Users.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:2: ")
    assert why in message
    assert message.isprintable()


@given(text=st.text(st.characters() | st.sampled_from(":$!/.lrKM0123"), max_size=60))
def test_any_line_is_a_user_or_one_error_that_can_be_printed(text):
    for line_of in (text, f"joe:{text}", f"joe:!:{text}", f"joe:{HASH}:/:{text}"):
        parsed = parsed_or_error(line_of)
        if isinstance(parsed, str):
            assert "\n" not in parsed
        else:
            assert users.parse_line(str(parsed)) == parsed


def parsed_or_error(text: str) -> UserLine | str:
    try:
        return users.parse_line(text)
    except BadUsers as error:
        return str(error)


def test_second_line_for_a_name_is_an_error(file):
    file.write_text(f"joe:{HASH}\nann:{HASH}\njoe:{HASH}\n")
    with pytest.raises(BadUsers, match=r"users:3: a second line for 'joe'"):
        Users.load(file)


def test_file_that_cannot_be_read_is_one_error(file, tmp_path, monkeypatch):
    with pytest.raises(BadUsers, match="No such file"):
        Users.load(file)
    with pytest.raises(BadUsers, match="Is a directory"):
        Users.load(tmp_path)
    file.write_bytes(b"jo\xff:x\n")
    with pytest.raises(BadUsers, match="not UTF-8"):
        Users.load(file)
    monkeypatch.setattr(users, "FILE_BYTES_MAX", 10)
    file.write_text(f"joe:{HASH}\n")
    with pytest.raises(BadUsers, match="more than"):
        Users.load(file)


def test_more_users_than_there_may_be_are_an_error(file, monkeypatch):
    monkeypatch.setattr(users, "USERS_MAX", 2)
    file.write_text(f"a:{HASH}\nb:{HASH}\n")
    assert len(Users.load(file)) == 2
    file.write_text(f"a:{HASH}\nb:{HASH}\nc:{HASH}\n")
    with pytest.raises(BadUsers, match="more than 2 users"):
        Users.load(file)


@pytest.mark.parametrize(
    "user",
    [
        User("joe", "/", Rights.READ_ONLY),
        User("joe", "/a b", Rights.ALL, 1, 2),
        User("joe", "/", Rights(0), None, 5),
        User("joe", "/", Rights.LIST | Rights.CREATE),
        *(User("joe", "/", right) for right in RIGHT_LETTERS.values()),
    ],
    ids=str,
)
@pytest.mark.parametrize("password", [hash_password("x", QUICK), None], ids=["hash", "locked"])
def test_line_is_read_as_it_is_written(user, password):
    written = UserLine(user, password)
    assert users.parse_line(str(written)) == written


def test_words_for_rights_cannot_be_spelt_with_their_letters():
    assert not any(set(word) <= set(RIGHT_LETTERS) for word in ("ro", "rw"))
    combined = Rights(0)
    for right in RIGHT_LETTERS.values():
        assert right not in combined
        combined |= right
    assert combined == Rights.ALL


def some_users(anonymous: str = "ro") -> Users:
    return Users(
        [
            UserLine(User("joe", "/", Rights.READ_ONLY), hash_password("right", QUICK)),
            UserLine(User("bob", "/", Rights.READ_ONLY), None),
        ],
        anonymous,
    )


@pytest.mark.parametrize(
    ("name", "password"),
    [("joe", "wrong"), ("joe", ""), ("nobody", "right"), ("bob", ""), ("bob", "!"), ("", "")],
)
def test_wrong_name_or_password_is_refused(name, password):
    known = some_users()
    assert known.verify(name, password) is None
    assert known.recall(name, password) is None


def test_right_password_admits_and_is_remembered_by_this_reading_of_the_file():
    known = some_users()
    assert known.recall("joe", "right") is None
    assert known.verify("joe", "right") == User("joe", "/", Rights.READ_ONLY)
    assert known.recall("joe", "right") == User("joe", "/", Rights.READ_ONLY)
    assert known.recall("joe", "wrong") is None
    assert known.recall("bob", "right") is None
    assert some_users().recall("joe", "right") is None


def test_no_more_passwords_are_remembered_than_may_be(monkeypatch):
    monkeypatch.setattr(users, "REMEMBERED_MAX", 3)
    names = ["a", "b", "c", "d"]
    known = Users(
        UserLine(User(name, "/", Rights.ALL), hash_password(name, QUICK)) for name in names
    )
    for name in names:
        assert known.verify(name, name)
    assert [bool(known.recall(name, name)) for name in names] == [False, True, True, True]


def test_name_that_nobody_has_costs_as_much_as_the_slowest_of_the_file(monkeypatch):
    costs: list[Cost] = []
    real = passwords._key

    def noting(words: bytes, cost: Cost, salt: bytes, length: int) -> bytes:
        costs.append(cost)
        return real(words, cost, salt, length)

    slow = Cost(n=64, r=1, p=1)
    known = Users(
        [
            UserLine(User("joe", "/", Rights.ALL), hash_password("x", QUICK)),
            UserLine(User("ann", "/", Rights.ALL), hash_password("x", slow)),
            UserLine(User("bob", "/", Rights.ALL), None),
        ],
        anonymous="off",
    )
    monkeypatch.setattr(passwords, "_key", noting)
    for name in ("nobody", "bob", "anonymous", "ftp", ""):
        assert known.verify(name, "x") is None
    assert costs == [slow] * 5


def test_passwords_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        passwords.hmac, "compare_digest", lambda one, other: bool(compared.append((one, other)))
    )
    assert some_users().verify("joe", "right") is None
    assert len(compared) == 1


@pytest.mark.parametrize(
    ("anonymous", "rights"), [("ro", Rights.READ_ONLY), ("rw", Rights.ALL), ("off", None)]
)
def test_anonymous_may_do_what_the_setting_says(anonymous, rights):
    known = some_users(anonymous)
    found = known.anonymous()
    assert (found and found.rights) == rights
    for name in ("anonymous", "ftp"):
        assert known.verify(name, "any@example.net") == found
    assert found is None or found.is_anonymous


def test_whether_anybody_may_write_is_known():
    assert not some_users("ro").may_write
    assert some_users("rw").may_write
    line = UserLine(User("joe", "/", Rights.LIST | Rights.DELETE), None)
    assert Users([line], "off").may_write


def test_verify_may_be_called_from_many_threads():
    known = some_users()
    found: list[User | None] = []

    def ask() -> None:
        for _ in range(20):
            found.append(known.verify("joe", "right"))
            found.append(known.recall("joe", "right"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [User("joe", "/", Rights.READ_ONLY)] * 160


def test_no_password_or_hash_is_in_what_is_printed_of_users():
    known = some_users()
    known.verify("joe", "right")
    for text in (repr(known), repr(hash_password("right", QUICK)), repr(list(known))):
        assert "right" not in text.replace("rights", "")
    assert isinstance(hash_password("x", QUICK), Hash)
