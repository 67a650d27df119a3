"""The pages in a browser: no script, nothing fetched, no complaint of the policy."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

TIMEOUT_S = 100

pytestmark = [
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
    pytest.mark.slow,
]


def chromium(url, tmp_path, *arguments):
    ended = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
            f"--user-data-dir={tmp_path / 'profile'}", *arguments, url,
        ],
        capture_output=True, timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    complaints = re.findall(r".*CONSOLE.*", ended.stderr.decode("utf-8", "replace"))
    assert complaints == []
    return ended.stdout.decode()


def test_chromium_shows_a_folder(serve, folder, tmp_path):
    (folder / "docs" / "<b>bold?.txt").write_text("x")
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/docs/"
        page = chromium(url, tmp_path, "--dump-dom")
        assert "&lt;b&gt;bold?.txt" in page
        assert 'href="./%3Cb%3Ebold%3F.txt"' in page


def test_chromium_draws_a_folder(serve, folder, tmp_path):
    picture = tmp_path / "picture.png"
    with serve() as server:
        url = f"http://127.0.0.1:{server.port}/docs/"
        chromium(url, tmp_path, f"--screenshot={picture}", "--window-size=500,800")
    assert picture.stat().st_size > 5000
