"""The clients that people use: curl, lftp, wget, ftplib."""

from __future__ import annotations

import ftplib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import Server, wait_until

BIG = os.urandom(64) * 64 * 1024  # 4 MiB


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*words: object, **options: object) -> bytes:
    """A program's output; it must succeed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, timeout=60, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    output: bytes = done.stdout
    return output


def curl(*words: object) -> bytes:
    return run("curl", "--silent", "--show-error", "--max-time", 40, *words)


@pytest.fixture
def tls_server(start: Callable[..., Server], certificate: Path) -> Server:
    return start(anonymous="rw", tls_cert=str(certificate))


@needs("curl")
class TestCurl:
    def test_gets_and_puts(self, server: Server, served: Path, tmp_path: Path) -> None:
        url = f"ftp://127.0.0.1:{server.port}/"
        (tmp_path / "local").write_bytes(BIG)
        curl("--upload-file", tmp_path / "local", url + "new")
        assert (served / "new").read_bytes() == BIG
        assert curl(url + "new") == BIG

    def test_goes_on(self, server: Server, served: Path, tmp_path: Path) -> None:
        url = f"ftp://127.0.0.1:{server.port}/"
        (served / "big").write_bytes(BIG)
        target = tmp_path / "got"
        target.write_bytes(BIG[:1000])
        curl("--continue-at", "-", "--output", target, url + "big")
        assert target.read_bytes() == BIG
        (served / "part").write_bytes(BIG[:1000])
        curl("--continue-at", 1000, "--upload-file", target, url + "part")
        assert (served / "part").read_bytes() == BIG
        curl("--append", "--upload-file", target, url + "part")
        assert (served / "part").read_bytes() == BIG * 2

    def test_lists(self, server: Server) -> None:
        url = f"ftp://127.0.0.1:{server.port}/"
        assert b"folder" in curl(url)
        assert curl("--list-only", url) == b"file\nfolder\nlines\n"
        assert curl("--list-only", url + "folder/") == b"inner\n"

    def test_gets_several_in_one_session(self, server: Server, served: Path) -> None:
        url = f"ftp://127.0.0.1:{server.port}/"
        expected = (served / "file").read_bytes() + b"inside"
        assert curl(url + "file", url + "folder/inner") == expected

    def test_makes_folders(self, server: Server, served: Path, tmp_path: Path) -> None:
        (tmp_path / "local").write_bytes(b"data")
        url = f"ftp://127.0.0.1:{server.port}/a/b/c"
        curl("--ftp-create-dirs", "--upload-file", tmp_path / "local", url)
        assert (served / "a" / "b" / "c").read_bytes() == b"data"

    @pytest.mark.parametrize("way", ["--disable-epsv", "--ftp-port=-", "--disable-eprt"])
    def test_goes_other_ways(self, server: Server, served: Path, way: str) -> None:
        words = way.split("=")
        if way == "--disable-eprt":
            words += ["--ftp-port", "-"]
        url = f"ftp://127.0.0.1:{server.port}/file"
        assert curl(*words, url) == (served / "file").read_bytes()

    def test_goes_over_ipv6(self, start: Callable[..., Server], served: Path) -> None:
        try:
            server = start(host="::1", anonymous="rw")
        except OSError:
            pytest.skip("no IPv6 here")
        url = f"ftp://[::1]:{server.port}/file"
        assert curl(url) == (served / "file").read_bytes()
        assert curl("--ftp-port", "-", url) == (served / "file").read_bytes()

    def test_goes_through_tls(
        self, tls_server: Server, certificate: Path, served: Path, tmp_path: Path
    ) -> None:
        trust = ("--cacert", certificate, "--ssl-reqd")
        (tmp_path / "local").write_bytes(BIG)
        url = f"ftp://localhost:{tls_server.port}/"
        curl(*trust, "--upload-file", tmp_path / "local", url + "new")
        assert (served / "new").read_bytes() == BIG
        assert curl(*trust, url + "new") == BIG
        assert curl(*trust, "--list-only", url + "folder/") == b"inner\n"
        url = f"ftps://localhost:{tls_server.tls_port}/"
        assert curl(*trust, url + "new") == BIG
        curl(*trust, "--upload-file", tmp_path / "local", url + "newer")
        assert (served / "newer").read_bytes() == BIG


@needs("lftp")
class TestLftp:
    def settings(self, certificate: Path) -> str:
        return (
            f"set ssl:ca-file {certificate}; set ftp:ssl-force yes; set ftp:ssl-protect-data yes;"
            "set net:max-retries 2; set net:timeout 20; set cmd:fail-exit yes;"
        )

    def test_mirrors_both_ways_through_tls_in_parallel(
        self, tls_server: Server, certificate: Path, served: Path, tmp_path: Path
    ) -> None:
        for number in range(20):
            folder = served / "many" / f"folder {number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"ö {number}").write_bytes(BIG[: 10_000 * number])
        address = f"open -u anonymous,x ftp://localhost:{tls_server.port};"
        settings = self.settings(certificate)
        target = tmp_path / "copy"
        mirror = f"{settings} {address} mirror --parallel=4 / {target}; bye"
        # Without a home: no settings of whoever runs the tests.
        environment = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
        run("lftp", "-c", mirror, env=environment)
        assert contents(target) == contents(served)
        back = f"{settings} {address} mirror --reverse --parallel=4 {target} /back; bye"
        run("lftp", "-c", back, env=environment)
        assert contents(served / "back") == contents(target)
        assert tls_server.complaints == []


@needs("wget")
class TestWget:
    def test_gets_a_tree(self, server: Server, served: Path, tmp_path: Path) -> None:
        (served / "folder" / "deep").mkdir()
        (served / "folder" / "deep" / "file").write_bytes(BIG)
        target = tmp_path / "copy"
        target.mkdir()
        url = f"ftp://127.0.0.1:{server.port}/"
        words = ["wget", "--no-config", "--recursive", "--no-host-directories", "--quiet", url]
        run(*words, cwd=target)
        assert contents(target) == contents(served)


def test_ftplib_does_all_it_can(server: Server, served: Path) -> None:
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect("127.0.0.1", server.port)
        ftp.login()
        ftp.voidcmd("TYPE I")
        assert ftp.size("file") == 102400
        ftp.mkd("new")
        assert ftp.pwd() == "/"
        ftp.cwd("new")
        with (served / "lines").open("rb") as file:
            ftp.storlines("STOR text", file)
        assert (served / "new" / "text").read_bytes() == b"one\ntwo\nthree\n"
        lines: list[str] = []
        ftp.retrlines("RETR text", lines.append)
        assert lines == ["one", "two", "three"]
        ftp.rename("text", "other")
        assert [name for name, _ in ftp.mlsd()] == ["other"]
        ftp.delete("other")
        ftp.cwd("..")
        ftp.rmd("new")
        (served / "big").write_bytes(BIG * 4)
        sock = ftp.transfercmd("RETR big")
        assert ftp.abort().startswith("426")
        assert ftp.getresp().startswith("226")  # that of ABOR itself
        sock.close()
        assert ftp.quit().startswith("221")
    wait_until(server.idle)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
