from __future__ import annotations

import pytest

from headrace.serve.http.targets import BadTarget, Target, parameters, parse, quoted


@pytest.mark.parametrize(
    ("target", "read"),
    [
        (b"/", Target("/", True, b"")),
        (b"/a", Target("/a", False, b"")),
        (b"/a/", Target("/a", True, b"")),
        (b"/a?b=c?d", Target("/a", False, b"b=c?d")),
        (b"/a%20b%3Fc", Target("/a b?c", False, b"")),
        (b"/%C3%A4", Target("/ä", False, b"")),
        (b"/%FF", Target("/\udcff", False, b"")),
        (b"//a///b", Target("/a/b", False, b"")),
        (b"/a/../b", Target("/b", False, b"")),
        (b"/../../b", Target("/b", False, b"")),
        (b"/a/%2e%2e/b", Target("/b", False, b"")),
        (b"/a/..", Target("/", True, b"")),
        (b"/a/.", Target("/a", True, b"")),
        (b"/a\\..\\b", Target("/a\\..\\b", False, b"")),
        (b"/%5c..%5cb", Target("/\\..\\b", False, b"")),
        (b"/%252e%252e/b", Target("/%2e%2e/b", False, b"")),
        (b"/a+b", Target("/a+b", False, b"")),
    ],
)
def test_target_is_read(target, read):
    assert parse(target) == read


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/%", 400),
        (b"/%zz", 400),
        (b"/%0", 400),
        (b"/%00", 400),
        (b"/a%00.txt", 400),
        (b"/%2f", 404),
        (b"/..%2F..%2Fetc/passwd", 404),
        (b"/" + b"a" * 300, 400),
        (b"/" + b"a/" * 4000, 400),
    ],
)
def test_target_is_refused(target, status):
    with pytest.raises(BadTarget) as caught:
        parse(target)
    assert caught.value.status == status


def test_parameters_are_read():
    assert parameters(b"sort=size&order=desc&sort=name") == {"sort": "name", "order": "desc"}
    assert parameters(b"&&=&x") == {}
    assert parameters(b"&".join([b"a=b"] * 100)) == {}
    assert parameters(b"a=%ff\xff") != {}


def test_path_is_quoted():
    assert quoted("/a b/ä\udcff?#%<\"'") == "/a%20b/%C3%A4%FF%3F%23%25%3C%22%27"
