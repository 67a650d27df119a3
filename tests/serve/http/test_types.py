from __future__ import annotations

import pytest

from headrace.serve.http.types import UNKNOWN, accepted_codings, content_type


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", b"text/plain; charset=utf-8"),
        ("a.HTML", b"text/html; charset=utf-8"),
        ("a.tar.gz", b"application/gzip"),
        ("a.png", b"image/png"),
        ("a.json", b"application/json; charset=utf-8"),
        ("a.iso", b"application/x-iso9660-image"),
        ("a", UNKNOWN),
        (".profile", UNKNOWN),
        ("/a.b/.txt", UNKNOWN),
        ("/a.txt/b", UNKNOWN),
        ("a.unheard-of", UNKNOWN),
    ],
)
def test_type_is_known_by_the_name(name, kind):
    assert content_type(name) == kind


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        (b"", []),
        (b"identity", []),
        (b"gzip", ["gzip"]),
        (b"x-gzip", ["gzip"]),
        (b"gzip, br, zstd", ["br", "zstd", "gzip"]),
        (b"gzip;q=1.0, br;q=0.5", ["gzip", "br"]),
        (b"GZIP; Q=0.5", ["gzip"]),
        (b"gzip;q=0", []),
        (b"gzip;q=0.000, br", ["br"]),
        (b"*", ["br", "zstd", "gzip"]),
        (b"*;q=0, gzip", ["gzip"]),
        (b"gzip;q=0.5, identity", []),
        (b"gzip;q=nonsense", []),
        (b"gzip;q=1.5", ["gzip"]),
        (b"gzip;q=0.1234", []),
        (b", ,gzip,", ["gzip"]),
    ],
)
def test_codings_are_taken_as_they_are_liked(field, codings):
    assert [name.decode() for name, _ in accepted_codings(field)] == codings
