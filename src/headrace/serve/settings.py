"""The settings: command line over TOML file over default, and one line for each mistake.

A key of the TOML file is the option's name without the dashes in front, with ``-`` or ``_`` inside
(``tls-cert`` or ``tls_cert``); the limits are the table ``[limits]``.  Both ways in, a value is
read by the same parser, so that both know the same mistakes.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import pwd
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headrace.models import registry
from headrace.serve.limits import BadLimit, Limits, limit_names, make_limits

__all__ = ["OPTIONS", "Address", "BadSettings", "Limits", "Option", "PortRange", "Settings"]

LOOPBACK = "127.0.0.1"
OFF = "off"
WORKERS_MAX = 256
AUTO = "auto"
CONFIG_BYTES_MAX = 2**20
LIMITS_TABLE = "limits"


class BadSettings(ValueError):
    """Settings that cannot be; one line that names where, which, what, and what is allowed."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


FTP = Address(LOOPBACK, 2121)
HTTP = Address(LOOPBACK, 8080)


class PortRange(NamedTuple):
    """Ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `headrace serve` was told, checked; see `OPTIONS` for what each means."""

    directory: str
    ftp: Address | None = FTP
    ftps: Address | None = None
    http: Address | None = HTTP
    https: Address | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_required: bool = False
    tls_session_reuse: bool = False
    users: str | None = None
    anonymous: str = "ro"
    workers: int | None = None  # None: one a core, and enough for all clients
    model: str | None = None
    metrics: Address | None = None
    passive_ports: PortRange | None = None
    passive_address: str | None = None
    log_format: str = "text"
    log_file: str | None = None
    xferlog: str | None = None
    run_as: str | None = None
    keep_partial: bool = False
    sync_uploads: bool = False
    umask: int = 0o022
    config: str | None = None
    limits: Limits = field(default_factory=Limits)
    words: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)
    """What they were made of."""

    def again(self) -> Settings:
        """From the same words, with what stands in the TOML file now.  Raises BadSettings."""
        return Settings._read(self.words) if self.words else self

    @classmethod
    def make(cls, words: Mapping[str, object]) -> Settings:
        """Of what the command line said: fields and their values, and nothing that it did not say.

        ``config`` names the TOML file, if there is one; ``limit`` is a list of ``NAME=VALUE``.

        Raises:
            BadSettings: a value cannot be, or does not go with another.
        """
        settings = cls._read(words)
        check_start(settings)
        return settings

    @classmethod
    def _read(cls, words: Mapping[str, object]) -> Settings:
        given = dict(words)
        config = given.get("config")
        values, limits = ({}, {}) if config is None else read_config(str(config))
        limits |= _limit_words(given.pop("limit", ()))
        values |= given
        try:
            values["limits"] = make_limits(limits)
        except BadLimit as error:  # the file's own have been looked at
            raise BadSettings(f"--limit {error}") from None
        if "directory" not in values:
            raise BadSettings("which folder is to be served?  headrace serve DIR")
        settings = cls(**values, words=dict(words))  # type: ignore[arg-type]
        check(settings)
        return settings


# Parsers: text -> value; each raises ValueError with what is allowed.


def address(text: str) -> Address | None:
    """``HOST:PORT``, ``[IPv6]:PORT``, ``PORT`` on the loopback address, or ``off``."""
    if text == OFF:
        return None
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [::1]:2121")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535) or (colon and not host):
        raise ValueError(f"{text!r} is not HOST:PORT, such as 0.0.0.0:2121 or [::]:2121, or off")
    return Address(host or LOOPBACK, int(port))


def ports(text: str) -> PortRange:
    first, dash, last = text.partition("-")
    last = last if dash else first
    if all(part.isascii() and part.isdigit() for part in (first, last)):
        made = PortRange(int(first), int(last))
        if 1024 <= made.first <= made.last <= 65_535:
            return made
    raise ValueError(f"{text!r} is not FIRST-LAST, from 1024 to 65535, such as 50000-50999")


def ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address, as PASV can name (RFC 959)") from None


def workers(text: str) -> int | None:
    if text == AUTO:
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= WORKERS_MAX:
        return int(text)
    raise ValueError(f"{text!r} is not a whole number from 1 to {WORKERS_MAX}, or {AUTO}")


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse


anonymous = one_of("ro", "rw", OFF)
log_format = one_of("text", "json")


def model(text: str) -> str:
    return one_of(*registry.names())(text)


def path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a path")
    return text


def user(text: str) -> str:
    try:
        pwd.getpwnam(text)
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a user of this system") from None
    return text


def mode(text: str) -> int:
    if not (text.isascii() and text.isdigit() and set(text) <= set("01234567") and len(text) <= 4):
        raise ValueError(f"{text!r} is not an octal number, such as 022")
    if int(text, 8) > 0o777:
        raise ValueError(f"{text!r} is more than 777")
    return int(text, 8)


class Option(NamedTuple):
    """An option: on the command line, in the TOML file, and as a field of `Settings`."""

    name: str
    parse: Callable[[str], object] | None
    """None: a flag."""
    metavar: str
    help: str

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


OPTIONS = (
    Option("ftp", address, "HOST:PORT", f"FTP, with TLS where the client asks; default {FTP}"),
    Option("ftps", address, "HOST:PORT", "FTP that begins with TLS; default off"),
    Option("http", address, "HOST:PORT", f"HTTP/1.1; default {HTTP}"),
    Option("https", address, "HOST:PORT", "HTTP/1.1 on TLS; default off"),
    Option("tls-cert", path, "FILE", "the certificate and its chain, PEM"),
    Option("tls-key", path, "FILE", "its private key, PEM; default: in the file of --tls-cert"),
    Option("tls-required", None, "", "no password and no data without TLS; HTTP answers 403"),
    Option("tls-session-reuse", None, "", "data connections must resume a TLS session had here"),
    Option("users", path, "FILE", "who may log in; `headrace passwd` writes it"),
    Option("anonymous", anonymous, "ro|rw|off", "what may be done without a name; default ro"),
    Option(
        "workers",
        workers,
        "N|auto",
        "processes that share the ports; auto: one a core, the default",
    ),
    Option("model", model, "MODEL", "the I/O model, as `headrace models` lists them"),
    Option("metrics", address, "HOST:PORT", "the status page and its figures; default off"),
    Option("passive-ports", ports, "FIRST-LAST", "ports of data connections; default: any"),
    Option("passive-address", ipv4, "ADDRESS", "what PASV names, behind a NAT"),
    Option("log-format", log_format, "text|json", "how events are logged; default text"),
    Option("log-file", path, "FILE", "where; default: standard error"),
    Option("xferlog", path, "FILE", "the log of transfers, as xferlog(5)"),
    Option("run-as", user, "USER", "who to become once the ports are open; needs root"),
    Option("keep-partial", None, "", "keep what came of broken uploads, to be gone on with"),
    Option("sync-uploads", None, "", "an upload is on the disk before it has its name"),
    Option("umask", mode, "MODE", "permissions that new files do not get; default 022"),
)
"""All but DIR, --config and --limit, in the order in which they are explained."""


def read_config(file: str) -> tuple[dict[str, object], dict[str, object]]:
    """The TOML file: fields of `Settings`, and those of `Limits`; each value parsed.

    Raises:
        BadSettings: it cannot be read, or a key or value is wrong.
    """
    try:
        with open(file, "rb") as opened:
            text = opened.read(CONFIG_BYTES_MAX).decode("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise BadSettings(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, too, and endless numbers
        raise BadSettings(f"{file}: not TOML: {error}") from None
    limits = document.pop(LIMITS_TABLE, {})
    if not isinstance(limits, dict):
        raise BadSettings(f"{file}: {LIMITS_TABLE} must be a table, [{LIMITS_TABLE}]")
    return _read_values(file, document), _read_limits(file, limits)


def _read_values(file: str, document: dict[str, Any]) -> dict[str, object]:
    known = {option.field: option for option in OPTIONS}
    known["directory"] = Option("directory", path, "DIR", "")
    found: dict[str, object] = {}
    for key, value in document.items():
        option = known.get(key.replace("-", "_"))
        if option is None:
            raise BadSettings(f"{file}: {_shown(key)}: no such key{_suggestion(key, known)}")
        try:
            found[option.field] = _parse_value(option, value)
        except ValueError as error:
            raise BadSettings(f"{file}: {key}: {error}") from None
    return found


def _parse_value(option: Option, value: object) -> object:
    if option.parse is None:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return value
    if value is False and option.parse is address:
        value = OFF  # TOML's word for it
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a text: {option.metavar}")
    return option.parse(str(value))


def _read_limits(file: str, table: dict[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in limit_names():
            hint = _suggestion(name, limit_names())
            raise BadSettings(f"{file}: [{LIMITS_TABLE}] {_shown(key)}: no such limit{hint}")
        found[name] = value
    try:
        make_limits(found)
    except ValueError as error:  # BadLimit, or a number with too many digits to be shown
        raise BadSettings(f"{file}: [{LIMITS_TABLE}] {error}") from None
    return found


def _limit_words(words: object) -> dict[str, object]:
    assert isinstance(words, (list, tuple))
    found: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise BadSettings(f"--limit {word!r} is not NAME=VALUE")
        if name not in limit_names():
            raise BadSettings(f"--limit {name}: no such limit{_suggestion(name, limit_names())}")
        found[name] = value.strip()
    return found


def _shown(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.replace("-", "_"), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def check(settings: Settings) -> None:
    """What one value alone cannot show.

    Raises:
        BadSettings: some do not go together.
    """
    listening = [settings.ftp, settings.ftps, settings.http, settings.https]
    if not any(listening):
        raise BadSettings("nothing to serve: ftp, ftps, http and https are all off")
    taken: set[Address] = set()
    for where in (*listening, settings.metrics):
        if where is not None and where.port and where in taken:
            raise BadSettings(f"{where} is named twice")
        if where is not None:
            taken.add(where)
    _check_tls(settings)
    if settings.anonymous == OFF and settings.users is None:
        raise BadSettings("nobody may log in: anonymous is off and there is no file of users")


def check_start(settings: Settings) -> None:
    """What holds at the start only: at a reload the folder is open, and root another user.

    That user may not even reach the folder by its name any more.

    Raises:
        BadSettings: the folder is not there, or there is no way to become that user.
    """
    if not os.path.isdir(settings.directory):
        raise BadSettings(f"{settings.directory!r} is not a folder")
    if settings.run_as is not None and os.geteuid() != 0:
        raise BadSettings("run-as: only root can become another user")


def _check_tls(settings: Settings) -> None:
    if settings.tls_cert is None:
        for name in ("ftps", "https", "tls_key", "tls_required", "tls_session_reuse"):
            if getattr(settings, name):
                raise BadSettings(f"{name.replace('_', '-')} needs tls-cert")
