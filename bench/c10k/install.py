"""What the box needs: a Python with the peers, two Debian servers, the load generator.

It runs before anything is installed, on whatever Python starts ``bench/c10k/run``: nothing is
imported here but the standard library and the bench suite's own first module.

vsftpd and proftpd cannot be installed at the same time (each is *the* ftp-server of the machine),
and installing one starts it on port 21.  So their packages, and the libraries that are missing, are
fetched by apt-get and unpacked below .venv-c10k: nothing of the machine changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from suite import environment

HERE = Path(__file__).parent
ROOT = environment.ROOT
FOLDER = ROOT / ".venv-c10k"
REQUIREMENTS = HERE / "requirements.txt"
LOAD_SOURCES = (*sorted(HERE.glob("*.c")), *sorted(HERE.glob("*.h")))


class CannotInstallError(Exception):
    """Something that the run needs is missing and cannot be had."""


def require_python() -> Path:
    """The interpreter of .venv-c10k, with the peers installed and headrace built for it."""
    python = environment.python_of(FOLDER)
    noted = FOLDER / "requirements"
    wanted = REQUIREMENTS.read_text()
    if not (noted.is_file() and noted.read_text() == wanted):
        environment.say(f"making {FOLDER.name} with {sys.executable}")
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        if not environment.install(FOLDER, ["--requirement", str(REQUIREMENTS)]):
            sys.exit(f"the packages of {REQUIREMENTS} cannot be installed")
        noted.write_text(wanted)
    environment.build(python)
    return python


def variables() -> dict[str, str]:
    """The environment of runner and servers: headrace is this clone's, no model is preset."""
    return environment.variables()


def load_generator() -> Path:
    """The compiled load generator; it is built when a source is newer.

    Raises:
        CannotInstallError: no compiler, or it refuses.
    """
    built = FOLDER / "load"
    if built.exists() and built.stat().st_mtime > max(s.stat().st_mtime for s in LOAD_SOURCES):
        return built
    compile_load(built)
    return built


def compile_load(target: Path) -> None:
    sources = [str(source) for source in LOAD_SOURCES if source.suffix == ".c"]
    command = ["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(target), *sources]
    if shutil.which("cc") is None:
        raise CannotInstallError("the load generator needs a C compiler: apt-get install gcc")
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CannotInstallError(f"cc refuses the load generator:\n{answer.stderr}")


def debian_program(package: str, program: str) -> Path:
    """The server's program: the machine's own, or the one unpacked below .venv-c10k.

    Raises:
        CannotInstallError: there is neither, and apt-get cannot fetch it.
    """
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found:
        return Path(found)
    folder = FOLDER / "debian" / package
    unpacked = folder / "usr" / "sbin" / program
    if not unpacked.exists():
        unpack(package, folder)
    if not unpacked.exists():
        raise CannotInstallError(f"the Debian package {package} has no {program}")
    return unpacked


def unpack(package: str, folder: Path) -> None:
    """Fetches the package and what it depends on and the machine has not, and unpacks all."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise CannotInstallError(f"{package} comes from Debian, and there is no {tool} here")
    environment.say(f"fetching {package}")
    names = missing_packages(package)
    if not names:
        said([*apt_get(), "update", "-qq"])
        names = missing_packages(package)
    if not names:
        raise CannotInstallError(f"apt-get knows no way to install {package}")
    folder.mkdir(parents=True, exist_ok=True)
    said([*apt_get(), "download", "-qq", *names], cwd=folder)
    for archive in folder.glob("*.deb"):
        said(["dpkg", "-x", str(archive), str(folder)])


def apt_get() -> list[str]:
    # The download sandbox of apt may not write below a folder of root's.
    return ["apt-get", "-o", "APT::Sandbox::User=root"]


def missing_packages(package: str) -> list[str]:
    command = ["apt-get", "install", "--no-install-recommends", "--simulate", package]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return re.findall(r"^Inst (\S+)", answer.stdout, re.MULTILINE)


def said(command: list[str], cwd: Path | None = None) -> None:
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise CannotInstallError(f"{' '.join(command)}: {answer.stderr.strip()}")


def library_path(program: Path) -> str:
    """LD_LIBRARY_PATH for an unpacked program, empty for an installed one."""
    if not program.is_relative_to(FOLDER):
        return ""
    libraries = (program.parents[2] / "usr" / "lib").glob("*-linux-gnu*")
    return ":".join(map(str, libraries))
