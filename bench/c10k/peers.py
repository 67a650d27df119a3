"""The servers: how each is started in the box, tuned as its documentation says for many clients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from c10k import install
from c10k.box import Box

PORT = 2121
BACKLOG = "backlog_max=65535"
PROGRAMS = Path(__file__).parent / "programs"
CLIENTS_MAX = 100_000
CLIENTS_BESIDE = 100
"""Connections beside the users': the first greeting, and those that end while others begin."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks of a peer."""

    workers: int
    model: str | None
    users: int
    options: Sequence[str] = ()
    """More words for headrace serve."""


@dataclass(frozen=True, slots=True)
class Start:
    """A server to be started."""

    command: Sequence[str]
    version: str
    shape: str
    """How it divides its clients among processes, for the table."""
    variables: Mapping[str, str] = field(default_factory=dict)


MakeStart = Callable[[Box, Path, Wanted], Start]


def headrace(box: Box, files: Path, wanted: Wanted) -> Start:
    words = ["-m", "headrace", "serve", str(files), "--ftp", f"{box.address}:{PORT}"]
    words += ["--http", "off", "--anonymous", "ro", "--workers", str(wanted.workers)]
    # A few addresses only, and a burst of logins must not meet a full queue.  The number of clients
    # is the load's: headrace starts as many processes as clients_max needs descriptors.
    clients = wanted.users + CLIENTS_BESIDE
    for limit in (f"clients_max={clients}", f"clients_per_address_max={clients}", BACKLOG):
        words += ["--limit", limit]
    if wanted.model:
        words += ["--model", wanted.model]
    shape = f"{wanted.workers} processes, {wanted.model or 'default model'}"
    return Start([sys.executable, *words, *wanted.options], "this clone", shape)


def pyftpdlib(box: Box, files: Path, wanted: Wanted) -> Start:
    return python_program("pyftpdlib", box, files, wanted)


def aioftp(box: Box, files: Path, wanted: Wanted) -> Start:
    return python_program("aioftp", box, files, wanted)


def python_program(name: str, box: Box, files: Path, wanted: Wanted) -> Start:
    program = PROGRAMS / f"{name}_server.py"
    words = [sys.executable, str(program), box.address, str(PORT), str(files), str(wanted.workers)]
    return Start(words, metadata.version(name), f"{wanted.workers} processes")


def vsftpd(box: Box, files: Path, wanted: Wanted) -> Start:
    program = install.debian_program("vsftpd", "vsftpd")
    empty = box.folder / "empty"
    empty.mkdir(exist_ok=True)
    settings = {
        "listen": "YES",
        "listen_address": box.address,
        "listen_port": PORT,
        "background": "NO",
        "anonymous_enable": "YES",
        "local_enable": "NO",
        "no_anon_password": "NO",
        "anon_root": files,
        # It begins in this account's home, which must exist: nobody has none.
        "ftp_username": "daemon",
        "nopriv_user": "nobody",
        "secure_chroot_dir": empty,
        "max_clients": 0,
        "max_per_ip": 0,
        "use_sendfile": "YES",
        "xferlog_enable": "NO",
        "connect_from_port_20": "NO",
        # For sites with many anonymous clients (vsftpd.conf(5)): one process per session, not two.
        "one_process_model": "YES",
        # A network namespace for each session costs more than the session.
        "isolate": "NO",
        "isolate_network": "NO",
    }
    configuration = box.folder / "vsftpd.conf"
    configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return debian_start(program, [str(configuration)], "vsftpd")


PROFTPD = """
ServerName c10k
ServerType standalone
DefaultServer on
DefaultAddress {address}
Port {port}
SocketBindTight on
User nobody
Group nogroup
MaxInstances {clients}
tcpBackLog 255
UseReverseDNS off
UseIPv6 off
UseSendfile on
WtmpLog off
TransferLog none
SystemLog none
ScoreboardFile none
PidFile {folder}/proftpd.pid
DelayTable none
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
AuthGroupFile {folder}/groups
RequireValidShell off
TimeoutIdle 0
TimeoutNoTransfer 0
TimeoutStalled 0
TimeoutSession 0
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
<IfModule mod_ident.c>
IdentLookups off
</IfModule>
<Anonymous {files}>
User nobody
Group nogroup
UserAlias anonymous nobody
AnonRequirePassword off
</Anonymous>
"""


def proftpd(box: Box, files: Path, wanted: Wanted) -> Start:
    program = install.debian_program("proftpd-core", "proftpd")
    (box.folder / "users").write_text(f"nobody:x:65534:65534:nobody:{files}:/bin/sh\n")
    (box.folder / "groups").write_text("nogroup:x:65534:\n")
    for name in ("users", "groups"):
        (box.folder / name).chmod(0o640)
    configuration = box.folder / "proftpd.conf"
    configuration.write_text(
        PROFTPD.format(
            address=box.address, port=PORT, clients=CLIENTS_MAX, folder=box.folder, files=files
        )
    )
    return debian_start(program, ["--nodaemon", "--quiet", "-c", str(configuration)], "proftpd")


def debian_start(program: Path, words: Sequence[str], name: str) -> Start:
    libraries = install.library_path(program)
    variables = {"LD_LIBRARY_PATH": libraries} if libraries else {}
    version = f"Debian's {debian_version(program, name)}"
    return Start([str(program), *words], version, "a process for each session", variables)


def debian_version(program: Path, name: str) -> str:
    """Of an unpacked program the archive's name says it: package_version_architecture.deb."""
    for archive in sorted(program.parents[2].glob(f"{name}*.deb")):
        return archive.name.split("_")[1]
    return name


PEERS: Mapping[str, MakeStart] = {
    "headrace": headrace,
    "pyftpdlib": pyftpdlib,
    "aioftp": aioftp,
    "vsftpd": vsftpd,
    "proftpd": proftpd,
}
