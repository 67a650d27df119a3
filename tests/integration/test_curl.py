"""curl against an unmodified aiohttp application: large bodies in both directions, every byte."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest

SIZE = 32 * 1024 * 1024

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    """A file of no repeating pattern, and its digest."""
    path = tmp_path_factory.mktemp("large") / "file"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(SIZE // (1024 * 1024)):
            block = hashlib.shake_256(number.to_bytes(4, "big")).digest(1024 * 1024)
            digest.update(block)
            file.write(block)
    return path, digest.hexdigest()


def curl(*arguments):
    ended = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", *arguments],
        capture_output=True,
        check=False,
    )
    assert ended.stderr == b""
    assert ended.returncode == 0
    return ended.stdout


def test_curl_downloads_a_large_file(serve, bench, large_file):
    path, digest = large_file
    with serve(str(bench / "apps" / "aiohttp_application.py")) as port:
        url = f"http://127.0.0.1:{port}/download?path={path}"
        assert hashlib.sha256(curl(url)).hexdigest() == digest
        part = curl("--range", "1000-1999999", url)
        with path.open("rb") as file:
            file.seek(1000)
            assert part == file.read(1_999_000)


def test_curl_uploads_a_large_file(serve, bench, large_file):
    path, digest = large_file
    with serve(str(bench / "apps" / "aiohttp_application.py")) as port:
        url = f"http://127.0.0.1:{port}/upload"
        assert curl("--upload-file", str(path), url).decode() == digest
        chunked = ("--header", "Transfer-Encoding: chunked")
        assert curl("--upload-file", str(path), *chunked, url).decode() == digest


def test_curl_that_gives_up_leaves_the_server_well(serve, bench, large_file):
    path, digest = large_file
    with serve(str(bench / "apps" / "aiohttp_application.py")) as port:
        url = f"http://127.0.0.1:{port}/download?path={path}"
        for _ in range(5):
            # curl closes after the first bytes, with the rest unread: the server gets a RST.
            ended = subprocess.run(
                ["curl", "--silent", "--max-filesize", "1000", url],
                capture_output=True,
                check=False,
                timeout=30,
            )
            assert ended.returncode == 63
        assert hashlib.sha256(curl(url)).hexdigest() == digest
