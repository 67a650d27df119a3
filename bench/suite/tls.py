"""What the TLS scenario needs: a certificate made at run time, and a load that speaks TLS."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from headrace.lab.load import LoadError
from headrace.lab.target import is_readable
from headrace.lab.window import Window
from suite.cell import Failure
from suite.environment import BENCH, ROOT

BINARY = ROOT / "build" / "floor" / "load_tls"
ANSWER_S = 90.0
END_S = 5.0
MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -subj /CN=localhost -batch -keyout {path} -out {path}.crt"
)


@functools.cache
def certificate() -> str:
    """The path of a fresh certificate with its key; the folder goes with this process.

    Raises:
        Failure: there is no openssl command.
    """
    if shutil.which("openssl") is None:
        raise Failure("no openssl command to make a certificate (apt-get install openssl)")
    folder = tempfile.TemporaryDirectory()
    KEPT.append(folder)
    path = Path(folder.name, "server.pem")
    command = MAKE_CERTIFICATE.format(path=path).split()
    subprocess.run(command, check=True, capture_output=True)
    with open(path, "ab") as file:
        file.write(Path(f"{path}.crt").read_bytes())
    return str(path)


KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def binary() -> Path:
    """The load generator, built where it is not.

    Raises:
        Failure: it cannot be built.
    """
    made = subprocess.run(
        ["make", "-s", "-C", str(BENCH / "c"), f"OUT={BINARY.parent}", str(BINARY)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        lines = [line for line in made.stderr.splitlines() if "error" in line]
        why = lines[0].strip() if lines else "make failed"
        raise Failure(f"load_tls does not build: {why} (apt-get install libssl-dev)")
    return BINARY


class TLSLoad:
    """A load generator process, which speaks TLS and sleeps between its stretches."""

    def __init__(
        self, address: tuple[str, int], *, busy: int, size: int, lines: bool = False
    ) -> None:
        shape = "lines" if lines else "echo"
        self.popen = subprocess.Popen(
            [str(binary()), str(address[1]), str(busy), str(size), shape],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def connect(self) -> None:
        self.ask("connect")

    def run(self, seconds: float) -> Window:
        found = self.ask(f"run {seconds:.6f}")
        return Window(
            seconds=found["seconds"],
            requests=found["requests"],
            latency_ns=tuple((latency, count) for latency, count in found["latency_ns"]),
            cpu_share=found["cpu_share"],
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Its answer to a command.

        Raises:
            LoadError: something went wrong between it and the server.
        """
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.write(f"{command}\n".encode())
            self.popen.stdin.flush()
        readable = is_readable(self.popen.stdout, ANSWER_S)
        line = self.popen.stdout.readline() if readable else b""
        if not line:
            raise LoadError(f"the load generator did not answer to {command!r}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise LoadError(found["error"])
        return found

    def close(self) -> None:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        try:
            self.popen.wait(END_S)
        except subprocess.TimeoutExpired:
            os.kill(self.popen.pid, 9)
            self.popen.wait()
        self.popen.stdout.close()
