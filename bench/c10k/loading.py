"""The load generator's process: its command line, and its lines of JSON as they come."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c10k import install
from c10k.peers import PORT

FILES = 64
"""How many files there are to choose from."""

NICE = -15

Line = dict[str, Any]


class LoadFailedError(Exception):
    """The load generator itself failed: its run says nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the simulated users do. ``rate_bytes_per_s`` 0: as fast as they can."""

    users: int
    ramp_per_s: float
    seconds: float
    rate_bytes_per_s: float
    file_bytes: int
    receive_buffer_bytes: int = 0
    extended_passive: bool = False
    idle: bool = False
    processes: int = 0
    spin: bool = False
    seed: int = 1

    def words(self) -> list[str]:
        words = [f"--users={self.users}", f"--ramp={self.ramp_per_s}", f"--seconds={self.seconds}"]
        words += [f"--rate={self.rate_bytes_per_s}", f"--seed={self.seed}"]
        if self.receive_buffer_bytes:
            words.append(f"--receive-buffer={self.receive_buffer_bytes}")
        if self.processes:
            words.append(f"--processes={self.processes}")
        words += ["--epsv"] * self.extended_passive + ["--idle"] * self.idle
        words += ["--spin"] * self.spin
        return words


def write_files(folder: Path, load: Load) -> Path:
    """The served folder: files of seeded random bytes, readable by every user."""
    folder.mkdir()
    folder.chmod(0o755)
    source = random.Random(load.seed)
    for at in range(FILES):
        path = folder / f"{at:04}.bin"
        path.write_bytes(source.randbytes(load.file_bytes))
        path.chmod(0o644)
    return folder


@contextmanager
def loading(
    load: Load,
    address: str,
    files: Path,
    core: int,
    sources: Sequence[str] = (),
    *,
    port: int = PORT,
) -> Iterator[Iterator[Line]]:
    """Runs the load; yields its lines, the last of which has ``final``.

    Raises:
        LoadFailedError: it could not run, or one of its processes failed.
    """
    command = [str(install.load_generator()), f"--host={address}", f"--port={port}"]
    command += [f"--files={files}", *load.words()]
    if sources:
        command.append(f"--sources={','.join(sources)}")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: take_place(core),
    )
    assert process.stdout is not None
    try:
        yield lines_of(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def take_place(core: int) -> None:
    """On its core, and before everybody else there: between fork and exec."""
    os.sched_setaffinity(0, {core})
    os.setpriority(os.PRIO_PROCESS, 0, NICE)


def lines_of(process: subprocess.Popen[str]) -> Iterator[Line]:
    assert process.stdout is not None
    final = False
    for text in process.stdout:
        line = json.loads(text)
        final = final or "final" in line
        yield line
    if process.wait() != 0 or not final:
        raise LoadFailedError(f"the load generator ended with exit status {process.returncode}")
