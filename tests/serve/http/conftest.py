"""What the HTTP tests share: a folder, a site, and a server."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.serve.settings import Settings
from headrace.serve.site import Site

# For http_server, however pytest is called.
sys.path.insert(0, str(Path(__file__).parent))

from http_server import CERTIFICATE, Server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "small").write_bytes(b"0123456789" * 100)
    (served / "empty").write_bytes(b"")
    (served / "text.txt").write_text("a text\n")
    (served / "large").write_bytes(bytes(range(256)) * 4096)
    (served / "docs").mkdir()
    (served / "docs" / "note.txt").write_text("a note\n")
    (served / "site").mkdir()
    (served / "site" / "index.html").write_text("<p>front page")
    return served


@pytest.fixture
def make_site(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """make_site(setting=value, ..., limit=["NAME=VALUE"]); the log lies in tmp_path/log."""
    made = []

    def make(**words: Any) -> Site:
        site = Site(
            Settings.make({"directory": str(folder), "log_file": str(tmp_path / "log"), **words})
        )
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()


@pytest.fixture
def serve(
    make_site: Callable[..., Site],
) -> Iterator[Callable[..., contextlib.AbstractContextManager[Server]]]:
    """serve(loop_name=None, tls=False, ...settings): a running server; no descriptor is left."""
    gc.collect()
    before = open_descriptors()

    @contextlib.contextmanager
    def started(
        loop_name: str | None = None,
        *,
        tls: bool = False,
        status_only: bool = False,
        prepare: Callable[[Site], None] = lambda _: None,
        **words: Any,
    ) -> Iterator[Server]:
        if tls:
            words |= {"tls_cert": str(CERTIFICATE)}
        site = make_site(**words)
        prepare(site)
        with Server(site, loop_name, tls=tls, status_only=status_only) as server:
            yield server
        site.close()

    yield started
    gc.collect()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
