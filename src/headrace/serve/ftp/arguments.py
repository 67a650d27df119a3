"""What stands behind a verb, read; and the two answers that hold an address, written.

Each `parse_` takes the words as the client sent them, without the blank after the verb, and returns
what they mean or raises BadArgument with the answer to give.  Nothing here looks at a file or at
the session: a port below 1024 or of another host is well formed, and the session refuses it.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import time
from typing import NamedTuple

# RFC 3659 sets no bound on numbers; a file's offset has one, and so has the time int() takes.
OFFSET_BYTES_MAX = 2**63 - 1
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_BYTE_LIST = re.compile(r"[0-9]{1,3}(?:,[0-9]{1,3}){5}", re.ASCII)
# time-val = 14DIGIT [ "." 1*DIGIT ] (RFC 3659 section 2.3); nanoseconds are all that a file has.
_TIME = re.compile(r"([0-9]{14})(?:\.([0-9]{1,9})[0-9]{0,11})?", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}|[0-7]{4}", re.ASCII)
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_HOST_CHARACTERS_MAX = 255

IPV4, IPV6 = 1, 2
"""Address families as RFC 2428 numbers them (IANA's address family numbers)."""


class BadArgument(ValueError):
    """The client's argument is not accepted; `code` and the text are the answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Endpoint(NamedTuple):
    """Where the client waits for the data connection (PORT, EPRT)."""

    host: str
    port: int
    family: int


class Range(NamedTuple):
    """Bytes from `first` to `last`, both included (draft-bryan-ftp-range)."""

    first: int
    last: int


class FileTime(NamedTuple):
    """MFMT: a file is to have this modification time."""

    modified_s: float
    path: str


class FileMode(NamedTuple):
    """SITE CHMOD: a file is to have these permissions."""

    mode: int
    path: str


def parse_number(text: str, maximum: int = OFFSET_BYTES_MAX) -> int:
    """A decimal number, not negative, at most `maximum`."""
    if _NUMBER.fullmatch(text) and (number := int(text)) <= maximum:
        return number
    raise BadArgument(501, f"A number from 0 to {maximum} is wanted")


def parse_port(text: str) -> Endpoint:
    """PORT h1,h2,h3,h4,p1,p2: "8-bit fields and the value of each field is transmitted as a decimal
    number" (RFC 959 section 4.1.2)."""
    text = text.strip()
    if _BYTE_LIST.fullmatch(text):
        numbers = [int(field) for field in text.split(",")]
        port = numbers[4] * 256 + numbers[5]
        if max(numbers) <= 255 and port:
            return Endpoint(".".join(map(str, numbers[:4])), port, IPV4)
    raise BadArgument(501, "h1,h2,h3,h4,p1,p2 is wanted: six numbers from 0 to 255")


def parse_eprt(text: str) -> Endpoint:
    """EPRT |family|address|port|, "|" being any printable ASCII character (RFC 2428 section 2)."""
    text = text.strip()
    delimiter = text[:1]
    fields = text.split(delimiter) if "!" <= delimiter <= "~" else []
    if len(fields) != 5 or fields[0] or fields[4]:
        raise BadArgument(501, "|1|address|port| or |2|address|port| is wanted")
    family = parse_number(fields[1], 65535)
    if family not in (IPV4, IPV6):
        raise unknown_family()
    try:
        address = ipaddress.IPv4Address(fields[2]) if family == IPV4 else _ipv6(fields[2])
    except ValueError:
        raise BadArgument(501, "The address is none of its family") from None
    port = parse_number(fields[3], 65535)
    if not port:
        raise BadArgument(501, "Port 0 is none")
    return Endpoint(str(address), port, family)


def _ipv6(text: str) -> ipaddress.IPv6Address:
    # A zone ("fe80::1%eth0") names an interface of the client's, which says nothing here.
    if "%" in text:
        raise ValueError("zone")
    return ipaddress.IPv6Address(text)


def unknown_family() -> BadArgument:
    """522, with the families that are known in brackets (RFC 2428 section 2)."""
    return BadArgument(522, f"Network protocol not supported, use ({IPV4},{IPV6})")


def parse_epsv(text: str) -> int | str | None:
    """EPSV: None, the family asked for, or "ALL" (RFC 2428 section 3)."""
    text = text.strip()
    if not text:
        return None
    if text.upper() == "ALL":
        return "ALL"
    if (family := parse_number(text, 65535)) not in (IPV4, IPV6):
        raise unknown_family()
    return family


def format_pasv(host: str, port: int) -> str:
    """The text of 227: clients find the numbers by their brackets (RFC 1123 section 4.1.2.6)."""
    return f"Entering Passive Mode ({host.replace('.', ',')},{port >> 8},{port & 255})"


def format_epsv(port: int) -> str:
    """The text of 229 (RFC 2428 section 3)."""
    return f"Entering Extended Passive Mode (|||{port}|)"


def parse_type(text: str) -> str:
    """TYPE: "A" or "I" (RFC 959 section 4.1.2; RFC 1123 section 4.1.2.1: L 8 is I)."""
    words = text.upper().split()
    match words:
        case ["A"] | ["A", "N"]:
            return "A"
        case ["I"] | ["L", "8"]:
            return "I"
        case ["A", "T" | "C"] | ["E"] | ["E", "N" | "T" | "C"] | ["L", _]:
            raise BadArgument(504, "Types are A, I and L 8")
    raise BadArgument(501, "Types are A, I and L 8")


def parse_structure(text: str) -> str:
    """STRU: "F"; records and pages are known and not offered (RFC 959 section 3.1.2)."""
    letter = text.strip().upper()
    if letter == "F":
        return letter
    raise BadArgument(504 if letter in ("R", "P") else 501, "The structure is F")


def parse_mode(text: str) -> str:
    """MODE: "S" or "Z"; whether Z is offered is the core's to say (RFC 959 section 3.4)."""
    letter = text.strip().upper()
    if letter in ("S", "Z"):
        return letter
    raise BadArgument(504 if letter in ("B", "C") else 501, "The mode is S")


def parse_allo(text: str) -> int:
    """ALLO bytes [R record size] (RFC 959 section 4.1.3): how many bytes will come."""
    words = text.split()
    if len(words) == 3 and words[1].upper() == "R":
        parse_number(words[2])
        del words[1:]
    if len(words) != 1:
        raise BadArgument(501, "ALLO takes a number of bytes")
    return parse_number(words[0])


def parse_offset(text: str) -> int:
    """REST: where the transfer begins, in bytes (RFC 3659 section 5.3)."""
    return parse_number(text.strip())


def parse_range(text: str) -> Range | None:
    """RANG first last; None for "RANG 1 0", which takes a range back (draft-bryan-ftp-range)."""
    words = text.split()
    if len(words) != 2:
        raise BadArgument(501, "RANG takes the first and the last byte's position")
    first, last = parse_number(words[0]), parse_number(words[1])
    if (first, last) == (1, 0):
        return None
    if first > last:
        raise BadArgument(501, "The first byte must not be after the last one")
    return Range(first, last)


def parse_time(text: str) -> float:
    """YYYYMMDDHHMMSS[.fraction] in UTC as seconds since 1970 (RFC 3659 section 2.3)."""
    if not (match := _TIME.fullmatch(text)):
        raise BadArgument(501, "A time is YYYYMMDDHHMMSS, in UTC")
    digits = match[1]
    year, rest = int(digits[:4]), [int(digits[i : i + 2]) for i in range(4, 14, 2)]
    # 60 is a leap second (RFC 3659 section 2.3); a file's clock knows none.
    leap = rest[4] == 60
    try:
        moment = datetime.datetime(
            year, rest[0], rest[1], rest[2], rest[3], 59 if leap else rest[4], tzinfo=datetime.UTC
        )
    except ValueError:
        raise BadArgument(501, "There is no such time") from None
    return moment.timestamp() + leap + float(f"0.{match[2] or 0}")


def format_time(modified_s: float) -> str:
    """Seconds since 1970 as YYYYMMDDHHMMSS in UTC, whole seconds (RFC 3659 section 2.3)."""
    moment: time.struct_time | None
    try:
        moment = time.gmtime(modified_s // 1)
    except (OverflowError, ValueError, OSError):
        moment = None
    if moment is None or not 1 <= moment.tm_year <= 9999:
        return "00010101000000" if modified_s < 0 else "99991231235959"
    year, month, day, hour, minute, second = moment[:6]
    return f"{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"


def parse_file_time(text: str) -> FileTime:
    """MFMT time path (draft-somers-ftp-mfxx)."""
    digits, separator, path = text.lstrip().partition(" ")
    if not separator or not path:
        raise BadArgument(501, "A time and a path are wanted")
    return FileTime(parse_time(digits), path)


def parse_file_mode(text: str) -> FileMode:
    """SITE CHMOD mode path: permissions in octal, without set-uid, set-gid and sticky bits."""
    mode, separator, path = text.lstrip().partition(" ")
    if not separator or not path:
        raise BadArgument(501, "SITE CHMOD takes a mode and a path")
    if not _MODE.fullmatch(mode):
        raise BadArgument(501, "A mode is three octal digits")
    if (value := int(mode, 8)) > 0o777:
        raise BadArgument(504, "A mode is three octal digits")
    return FileMode(value, path)


def parse_mechanism(text: str) -> str:
    """AUTH: TLS by any name that clients give it (RFC 4217 section 17 and its predecessors)."""
    if text.strip().upper() in ("TLS", "TLS-C", "SSL"):
        return "TLS"
    raise BadArgument(504, "The mechanism is TLS")


def parse_buffer_size(text: str) -> int:
    """PBSZ: a number of 32 bits (RFC 2228 section 3); with TLS it is always 0."""
    return parse_number(text.strip(), 2**32 - 1)


def parse_protection(text: str) -> bool:
    """PROT: True for P, False for C; S and E are not TLS's (RFC 4217 section 9)."""
    match text.strip().upper():
        case "P":
            return True
        case "C":
            return False
        case "S" | "E":
            raise BadArgument(536, "TLS protects by P, or C does not")
    raise BadArgument(504, "The protection is P or C")


def parse_host(text: str) -> str:
    """HOST: a name, or an address in brackets if it is one of IPv6 (RFC 7151 section 3.1)."""
    name = text.strip()
    if len(name) <= _HOST_CHARACTERS_MAX:
        if _HOST_NAME.fullmatch(name):
            return name.lower()
        if name.startswith("[") and name.endswith("]"):
            try:
                return str(_ipv6(name[1:-1]))
            except ValueError:
                pass
    raise BadArgument(501, "HOST takes a name, or an IPv6 address in brackets")


def parse_language(text: str) -> str | None:
    """LANG: None is "the default"; answers are in English (RFC 2640 section 4)."""
    tag = text.strip().lower()
    if not tag:
        return None
    if tag == "en" or tag.startswith("en-"):
        return "en"
    raise BadArgument(504, "The language is EN")


def parse_name(text: str) -> str:
    """A path, or any words: as they are."""
    return text
