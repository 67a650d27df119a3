"""Virtual paths: a client's words, whatever they are, name something below its home."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serve import paths
from headrace.serve.paths import BadPath, resolve

WORDS = st.text(st.characters(codec=None) | st.sampled_from("/./.\0\udc80\udcff"), max_size=60)
NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("/", "", "/"),
        ("/", "a", "/a"),
        ("/a", "b", "/a/b"),
        ("/a", "/b", "/b"),
        ("/a/b", "..", "/a"),
        ("/a/b", "../../../../etc/passwd", "/etc/passwd"),
        ("/a", ".", "/a"),
        ("/a", "./b/./c/.", "/a/b/c"),
        ("/a", "b//c///", "/a/b/c"),
        ("/", "//etc//passwd", "/etc/passwd"),
        ("/", "...", "/..."),
        ("/", ".. ", "/.. "),
        ("/a", "b/../../c", "/c"),
        ("/", "a\\..\\b", "/a\\..\\b"),
        ("/", "%2e%2e/%2f", "/%2e%2e/%2f"),  # whoever decodes that has done it before
        ("/", "a\tb\nc", "/a\tb\nc"),
        ("/", "~root", "/~root"),
        ("/", "日本語", "/日本語"),
    ],
)
def test_resolve_makes_of_words_one_path_below_the_root(folder, name, path):
    assert resolve(folder, name) == path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a\0b", "NUL"),
        ("\0", "NUL"),
        ("a" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("a/" * 2048, "4,095 bytes"),
        ("\ud800", "no name can have"),
        ("\udc2f..", "no name can have"),  # no surrogate escape: it would be a slash
    ],
)
def test_resolve_refuses_what_no_file_can_be_called(name, why):
    with pytest.raises(BadPath, match=why) as caught:
        resolve("/", name)
    assert name not in str(caught.value)


def test_resolve_takes_the_longest_name_and_refuses_a_path_that_the_folder_makes_too_long():
    assert resolve("/", "é" * 127 + "x") == "/" + "é" * 127 + "x"
    folder = "/" + "/".join(["a" * 255] * 15)
    assert len(resolve(folder, "b" * 254)) == paths.PATH_BYTES_MAX
    with pytest.raises(BadPath, match="4,095"):
        resolve(folder, "b" * 255)


@pytest.mark.parametrize("slash", [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xfc\x80"])
def test_overlong_form_of_a_slash_or_dot_is_strange_bytes_in_a_name(slash):
    path = resolve("/a", paths.decode(b".." + slash + b".." + slash + b"etc"))
    assert path.count("/") == 2
    assert paths.encode(path) == b"/a/.." + slash + b".." + slash + b"etc"


def test_one_file_has_one_virtual_path_however_its_bytes_came():
    halves = "\udcc3\udca9"  # é, its bytes escaped one by one
    assert resolve("/", halves) == resolve("/", "é") == "/é"


@given(folder=WORDS, name=WORDS)
def test_resolved_path_is_normal_and_encodes_and_resolves_to_itself(folder, name):
    try:
        path = resolve(resolve("/", folder), name)
    except BadPath:
        return
    assert path.startswith("/")
    assert path == "/" or not path.endswith("/")
    assert not {"", ".", ".."} & set(path[1:].split("/")) or path == "/"
    assert "\0" not in path
    assert paths.decode(paths.encode(path)) == path
    assert resolve("/anywhere", path) == path
    assert len(paths.encode(path)) <= paths.PATH_BYTES_MAX


@given(names=st.lists(NAMES, max_size=8), name=WORDS)
def test_resolve_agrees_with_the_standard_librarys_normpath(names, name):
    folder = "/" + "/".join(part for part in names if part not in (".", ".."))
    try:
        path = resolve(folder, name)
    except BadPath:
        return
    whole = name if name.startswith("/") else f"{folder}/{name}"
    oracle = os.path.normpath("/" + whole.lstrip("/"))
    assert path == paths.decode(paths.encode(oracle))


@given(data=st.binary(max_size=80))
def test_any_bytes_survive_being_a_name(data):
    assert paths.encode(paths.decode(data)) == data


@given(names=st.lists(NAMES, min_size=1, max_size=5))
def test_split_and_join_are_opposites(names):
    path = "/" + "/".join(names)
    folder, name = paths.split(path)
    assert paths.join(folder, name) == path
    assert "/" not in name
    assert paths.split("/") == ("/", "")
