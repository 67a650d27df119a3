"""TYPE A, in chunks of any size."""

import os
from pathlib import Path

import pytest

from headrace.serve.ftp import ascii as module
from headrace.serve.ftp.ascii import FromLines, lines_of

CASES = {
    b"": b"",
    b"a\nb\n": b"a\r\nb\r\n",
    b"a\r\nb": b"a\r\nb",
    b"\n\r\n\n": b"\r\n\r\n\r\n",
    b"a\rb\r": b"a\rb\r",
    b"\r\r\n": b"\r\r\n",
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize("data", CASES)
def test_a_file_is_sent_with_crlf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert b"".join(lines_of(fd)) == CASES[data]
    finally:
        os.close(fd)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\nb", b"a\nb"),
        (b"\r\r\n\r", b"\r\n\r"),
        (b"\r\n\r\n", b"\n\n"),
        (b"a\rb", b"a\rb"),
    ],
)
def test_lines_are_stored_with_lf(sent: bytes, stored: bytes, chunk: int) -> None:
    lines = FromLines()
    parts = [lines.convert(sent[at : at + chunk]) for at in range(0, len(sent), chunk)]
    assert b"".join([*parts, lines.end()]) == stored
