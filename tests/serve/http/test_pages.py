"""What our pages say, and that nothing in a name is more than a name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser

import pytest

from headrace.serve.http import listing, status_page
from headrace.serve.http.core import Request
from headrace.serve.http.figures import Status, TransferStatus, WorkerStatus
from headrace.serve.http.html_text import duration_text, shown, size_text, time_text
from headrace.serve.http.pages import ENTRIES_PER_PAGE, Row, View, folder_page
from headrace.serve.http.targets import Target
from headrace.serve.tree import TooManyEntries, Tree

HOSTILE = [
    "<script>alert(1)</script>", '"onmouseover="alert(1)', "a&amp;b", "javascript:alert(1)",
    "../up", "\u202egnp.exe", "\u2066a\u2069", "new\nline", "tab\t", "\x1b[31mred", "\udcff\udcfe",
    "'", "`", "?sort=size", "#top", "%2e%2e", "a" * 250, " ", "\u200b", "-->", "]]>", "\x7f",
]  # fmt: skip
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")


class Reader(HTMLParser):
    """Elements, their attributes, and the text of the rows' names."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.names = []
        self._in_name = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "bdi":
            self._in_name = 1
            self.names.append("")

    def handle_endtag(self, tag):
        if tag == "bdi":
            self._in_name = 0

    def handle_data(self, data):
        if self._in_name:
            self.names[-1] += data

    def links(self):
        return [attributes["href"] for tag, attributes in self.elements if tag == "a"]


def request(target=b"/", **fields):
    named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    return Request(b"GET", target, 1, named)


def test_page_shows_hostile_names_as_names():
    rows = [Row(name, kind, 1, 0.0) for name in HOSTILE for kind in ("file", "folder", "other")]
    page = folder_page(View("/" + HOSTILE[1] + "/" + HOSTILE[5]), rows)
    assert not BIDI.search(page)
    assert page.isascii() or all(c.isprintable() or c in "\n" for c in page)
    read = Reader(page)
    plain = Reader(folder_page(View("/a/b"), [Row("n", row.kind, 1, 0.0) for row in rows]))
    # The same elements, but for the marks of what cannot be shown.
    assert [tag for tag, _ in read.elements if tag != "i"] == [tag for tag, _ in plain.elements]
    assert {a for _, each in read.elements for a in each} == {
        a for _, each in plain.elements for a in each
    }
    for link in read.links():
        assert link.startswith(("./", "../", "/", "?sort=")), link
        assert not link.startswith("//")


def test_page_is_for_people():
    rows = [Row("folder", "folder", 0, 0.0), Row("file.txt", "file", 1536, 86_400.0)]
    page = folder_page(View("/a/b c", "size", "desc", folders=1, files=1, total_bytes=1536), rows)
    read = Reader(page)
    assert read.links() == [
        "/", "/a/", "?sort=name&order=asc", "?sort=size&order=asc", "?sort=date&order=desc",
        "../", "./folder/", "./file.txt",
    ]  # fmt: skip
    assert ("html", {"lang": "en"}) in read.elements
    sorted_by = [each for tag, each in read.elements if tag == "th" and "aria-sort" in each]
    assert [each["aria-sort"] for each in sorted_by] == ["descending"]
    assert 'title="1,536 bytes">1.5 KiB' in page
    assert 'datetime="1970-01-02T00:00:00Z"' in page
    assert "1 folder · 1 file, " in page
    assert "width=device-width" in page
    assert "prefers-color-scheme:dark" in page
    assert not [tag for tag, _ in read.elements if tag in ("script", "img", "link", "iframe")]


def test_page_of_an_empty_folder_says_so():
    assert "This folder is empty." in folder_page(View("/"), [])


@pytest.fixture
def tree(tmp_path):
    with Tree(tmp_path) as opened:
        yield opened


def answer(tree, query=b"", entries_max=100_000, **fields):
    return listing.answer_listing(tree, Target("/", True, query), request(**fields), entries_max)


def names(answered):
    (page,) = answered.pieces
    return [name.rstrip("/") for name in Reader(page.decode()).names if name][1:]


def test_listing_sorts(tree, tmp_path):
    for name, size in (("b9", 3), ("B10", 1), ("a", 2)):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "z").mkdir()
    assert names(answer(tree)) == ["z", "a", "b9", "B10"]
    assert names(answer(tree, b"order=desc")) == ["z", "B10", "b9", "a"]
    assert names(answer(tree, b"sort=size")) == ["z", "b9", "a", "B10"]
    assert names(answer(tree, b"sort=size&order=asc")) == ["z", "B10", "a", "b9"]
    assert names(answer(tree, b"sort=nonsense&order=nonsense&page=nonsense")) == names(answer(tree))


def test_listing_of_many_names_has_pages(tree, tmp_path):
    for number in range(ENTRIES_PER_PAGE + 5):
        (tmp_path / f"{number}").touch()
    first = answer(tree)
    assert names(first) == [f"{number}" for number in range(ENTRIES_PER_PAGE)]
    assert b"?sort=name&amp;order=asc&amp;page=2" in first.pieces[0]
    assert len(names(answer(tree, b"page=2"))) == 5
    assert names(answer(tree, b"page=99999")) == names(answer(tree, b"page=2"))
    assert names(answer(tree, b"page=0")) == names(first)


def test_listing_has_a_limit(tree, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}").touch()
    with pytest.raises(TooManyEntries):
        answer(tree, entries_max=3)


def test_listing_does_not_show_what_comes_in(tree):
    upload = tree.upload("/new")
    assert names(answer(tree)) == []
    upload.discard()


def test_listing_as_json(tree, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "f.txt").write_bytes(bytes(7))
    os.utime(tmp_path / "f.txt", (0, 0))
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    told = answer(tree, accept=b"application/json")
    assert b"application/json" in told.fields
    read = json.loads(told.pieces[0])
    assert read["path"] == "/"
    assert [entry["name"] for entry in read["entries"]] == ["d", "f.txt", "\udcff"]
    assert [entry["href"] for entry in read["entries"]] == ["d/", "f.txt", "%FF"]
    assert read["entries"][1] == {
        "name": "f.txt", "href": "f.txt", "type": "file", "size": 7,
        "modified": "1970-01-01T00:00:00Z",
    }  # fmt: skip


def test_listing_as_json_has_pages(tree, tmp_path):
    """A client that does not read its answer has a page of it in memory, not all of a folder."""
    for number in range(2 * ENTRIES_PER_PAGE + 1):
        (tmp_path / f"{number:05}").touch()
    found, query, page = [], b"", 0
    while query is not None:
        told = answer(tree, query, accept=b"application/json")
        read, page = json.loads(told.pieces[0]), page + 1
        assert (read["page"], read["pages"]) == (page, 3)
        assert len(read["entries"]) <= ENTRIES_PER_PAGE
        found += [entry["name"] for entry in read["entries"]]
        link = re.search(rb'Link: <\?([^>]*)>; rel="next"\r\n', told.fields)
        query = link[1] if link else None
    assert found == [f"{number:05}" for number in range(2 * ENTRIES_PER_PAGE + 1)]


def test_page_allows_nothing_but_its_style(tree):
    told = answer(tree)
    (style,) = re.findall(rb"<style>(.*?)</style>", told.pieces[0], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style).digest())
    policy = re.search(rb"Content-Security-Policy: (.*)\r\n", told.fields)[1]
    assert policy.startswith(b"default-src 'none'; style-src 'sha256-" + digest + b"';")
    assert b"X-Content-Type-Options: nosniff\r\n" in told.fields


STATUS = Status(
    1_800_000_000.0, 3600.0, 20_000,
    (WorkerStatus(0, 4711, "uring", 3600.0, ftp_clients=1200, sent_bytes_per_s=2**20),
     WorkerStatus(1, 4712, "epoll", 3600.0, http_clients=34, sent_bytes=2**30)),
    (TransferStatus("FTP", "down", "<b>", "192.0.2.1", "/a\u202e<i>", 50, 100, 10.0, 5.0),
     TransferStatus("HTTPS", "up", "me", "192.0.2.2", "/up", 50, None, 10.0, 5.0)),
    1, ("ftp://0.0.0.0:2121",),
)  # fmt: skip


def test_status_page_adds_the_workers():
    page = status_page.page(STATUS)
    read = Reader(page)
    for text in ("1,234 <small>of 20,000", "1.0 MiB/s", "uring", "epoll", "4711", "1 worker rep"):
        assert text in page
    assert ("meta", {"http-equiv": "refresh", "content": "2"}) in read.elements
    assert ("progress", {"max": "100", "value": "50"}) in read.elements
    assert not BIDI.search(page)
    assert "<b>" not in page
    assert "None at the moment" in status_page.page(Status(0.0, 0.0, 1))


def test_status_page_has_a_limit():
    many = Status(0.0, 0.0, 1, (), STATUS.transfers * 80)
    assert "And 60 more." in status_page.page(many)


def test_status_as_json():
    told = status_page.answer(STATUS, request(accept=b"application/json"))
    assert json.loads(told.pieces[0])["workers"][1]["pid"] == 4712


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10_200, "10 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"), (5 * 2**30, "5.0 GiB"), (2**80, "1,048,576 EiB"),
    ],
)  # fmt: skip
def test_size_is_short(size, text):
    assert size_text(size) == text


def test_times_are_short():
    assert time_text(0) == ("1970-01-01T00:00:00Z", "1970-01-01 00:00")
    assert time_text(1e300)[1] == "?"
    assert [duration_text(s) for s in (1, 119, 120, 7200, 200_000)] == [
        "1 s", "119 s", "2 min", "2 h", "2 d"
    ]  # fmt: skip


def test_emoji_stay_whole():
    family = "👩‍👩‍👧"
    assert shown(family) == family
    assert shown("a\u202eb") == "a<i>U+202E</i>b"
