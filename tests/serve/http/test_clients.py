"""The clients that people have: curl, wget, wrk, h2load."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess

import pytest
from http_server import CERTIFICATE

TIMEOUT_S = 60
SIZE = 3_000_000


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*command, code=0):
    ended = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout


def curl(*arguments, code=0):
    return run("curl", "--silent", "--show-error", "--max-time", "30", *arguments, code=code)


@pytest.fixture
def data(folder):
    made = hashlib.shake_256(b"file").digest(SIZE)
    (folder / "file.bin").write_bytes(made)
    return made


@needs("curl")
def test_curl_reads(serve, folder, data, tmp_path):
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/file.bin"
        assert curl(url) == data
        assert curl("--http1.0", url) == data
        assert curl("--http2", url) == data
        assert curl("--range", "5-9", url) == data[5:10]
        assert curl("--range", "-7", url) == data[-7:]
        parts = curl("--range", "0-1,1000-1001", url)
        assert data[1000:1002] in parts
        head = curl("--head", url)
        assert f"Content-Length: {SIZE}".encode() in head
        part = tmp_path / "part"
        part.write_bytes(data[:1_000_000])
        curl("--continue-at", "-", "--output", str(part), url)
        assert part.read_bytes() == data
        curl("--fail", url + "x", code=22)


@needs("curl")
def test_curl_asks_again_only_for_what_changed(serve, data, tmp_path):
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/file.bin"
        tag, out = str(tmp_path / "tag"), str(tmp_path / "out")
        show = ("--write-out", "%{http_code}", "--output", out)
        assert curl("--etag-save", tag, *show, url) == b"200"
        assert curl("--etag-compare", tag, *show, url) == b"304"
        assert curl("--time-cond", "Tue, 01 Jan 2036 00:00:00 GMT", *show, url) == b"304"


@needs("curl")
def test_curl_uploads(serve, folder, data, tmp_path):
    file = tmp_path / "up"
    file.write_bytes(data)
    with serve(anonymous="rw") as server:
        url = f"http://127.0.0.1:{server.port}/docs/"
        show = ("--write-out", "%{http_code}", "--output", os.devnull)
        assert curl("--upload-file", str(file), *show, url + "1") == b"201"
        assert curl("--upload-file", str(file), *show, url + "1") == b"204"
        chunked = ("--header", "Transfer-Encoding: chunked")
        assert curl("--upload-file", str(file), *chunked, *show, url + "2") == b"201"
        assert curl("--http2", "--upload-file", str(file), *show, url + "3") == b"201"
        assert curl("--header", "Expect:", "--upload-file", str(file), *show, url + "4") == b"201"
        for name in "1234":
            assert (folder / "docs" / name).read_bytes() == data
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/docs/1"
        assert curl("--upload-file", str(file), *show, url) == b"401"


@needs("curl")
def test_curl_speaks_tls(serve, folder, data, tmp_path):
    file = tmp_path / "up"
    file.write_bytes(data)
    with serve(tls=True, anonymous="rw") as server:
        url = f"https://localhost:{server.port}/file.bin"
        trust = ("--cacert", str(CERTIFICATE), "--insecure", "--resolve")
        trust = (*trust, f"localhost:{server.port}:127.0.0.1")
        assert curl(*trust, url) == data
        assert curl(*trust, "--range", "100000-2999999", url) == data[100_000:]
        assert curl(*trust, "--upload-file", str(file), url + "2").startswith(b"201")
        assert (folder / "file.bin2").read_bytes() == data


@needs("curl")
def test_curl_that_gives_up_leaves_the_server_well(serve, data):
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/file.bin"
        for _ in range(5):
            curl("--max-filesize", "1000", url, code=63)
        assert curl(url) == data
        server.wait(lambda: not server.sessions)


@needs("wget")
def test_wget_mirrors_a_folder(serve, folder, tmp_path):
    (folder / "docs" / "deep er").mkdir()
    (folder / "docs" / "deep er" / "ä 20% & b.txt").write_text("deep")
    out = tmp_path / "out"
    out.mkdir()
    with serve() as server:
        run(
            "wget", "--quiet", "--recursive", "--level=5", "--no-parent", "--no-host-directories",
            "--reject-regex=[?]", "--restrict-file-names=nocontrol", "--directory-prefix", str(out),
            f"http://127.0.0.1:{server.port}/docs/",
        )  # fmt: skip
    assert (out / "docs" / "note.txt").read_text() == "a note\n"
    assert (out / "docs" / "deep er" / "ä 20% & b.txt").read_text() == "deep"


@needs("wget")
def test_wget_goes_on_where_it_was(serve, data, tmp_path):
    part = tmp_path / "file.bin"
    part.write_bytes(data[:1234567])
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/file.bin"
        run("wget", "--quiet", "--continue", "--output-document", str(part), url)
    assert part.read_bytes() == data


@needs("wrk")
@pytest.mark.parametrize("name", ["small", "large", "docs/"])
def test_wrk_sees_no_error(serve, name):
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/{name}"
        told = run("wrk", "-t1", "-c20", "-d1s", url).decode()
    assert "Socket errors" not in told
    assert "Non-2xx" not in told
    assert int(re.search(r"(\d+) requests in", told)[1]) > 0


@needs("h2load")
def test_h2load_sees_no_error(serve):
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/small"
        told = run("h2load", "--h1", "-n", "2000", "-c", "10", "-m", "4", url).decode()
    assert "2000 succeeded, 0 failed, 0 errored" in told
