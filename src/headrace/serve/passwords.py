"""Password hashes: scrypt (RFC 7914), as text ``scrypt$n$r$p$salt$key``, salt and key in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

__all__ = ["BadHash", "COST", "Cost", "Hash", "PASSWORD_BYTES_MAX", "hash_password", "parse_hash"]

SCHEME = "scrypt"
SALT_BYTES = 16
KEY_BYTES = 32
PASSWORD_BYTES_MAX = 1024
"""A longer password is wrong: the time that hashing takes must not be the client's to choose."""
MEMORY_BYTES_MAX = 64 * 2**20
"""What one hash may take while it is computed; the file's costs are refused beyond it."""
WORK_MAX = 2**26
"""n * r * p, which the time is proportional to: some seconds."""


class BadHash(ValueError):
    """It is no hash of ours; the message says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's parameters: ``128 * n * r`` bytes of memory, time by ``n * r * p``."""

    n: int
    r: int
    p: int

    def check(self) -> None:
        """Raises BadHash where scrypt would refuse them, or a server should."""
        if self.n < 2 or self.n & (self.n - 1) or self.r < 1 or self.p < 1:
            raise BadHash("n must be a power of two, r and p at least 1")
        if 128 * self.n * self.r > MEMORY_BYTES_MAX or self.n * self.r * self.p > WORK_MAX:
            raise BadHash(f"needs more than {MEMORY_BYTES_MAX // 2**20} MiB, or too long")


COST = Cost(n=2**14, r=8, p=5)
"""16 MiB for a fraction of a second: of OWASP's equally strong choices one with little memory."""


@dataclass(frozen=True, slots=True)
class Hash:
    """A password's hash; ``str()`` is what stands in the file, and ``repr()`` shows none of it."""

    cost: Cost
    salt: bytes
    key: bytes

    def __str__(self) -> str:
        cost = self.cost
        return "$".join(
            [SCHEME, str(cost.n), str(cost.r), str(cost.p), _text(self.salt), _text(self.key)]
        )

    def __repr__(self) -> str:
        return f"<Hash {self.cost}>"

    def matches(self, password: str) -> bool:
        """Whether it is this password's; slow, and equally slow whatever the answer."""
        words = _words(password)
        key = _key(words[:PASSWORD_BYTES_MAX], self.cost, self.salt, len(self.key))
        return hmac.compare_digest(key, self.key) and len(words) <= PASSWORD_BYTES_MAX


def hash_password(password: str, cost: Cost = COST) -> Hash:
    """A new hash with a salt of its own; slow.

    Raises:
        BadHash: the password is empty or has more than 1,024 bytes.
    """
    words = _words(password)
    if not 0 < len(words) <= PASSWORD_BYTES_MAX:
        raise BadHash(f"a password has 1 to {PASSWORD_BYTES_MAX:,} bytes")
    salt = secrets.token_bytes(SALT_BYTES)
    return Hash(cost, salt, _key(words, cost, salt, KEY_BYTES))


def impossible_hash(cost: Cost = COST) -> Hash:
    """A hash that no password has, as slow as others: for names that are nobody's."""
    return Hash(cost, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(KEY_BYTES))


def parse_hash(text: str) -> Hash:
    """What `Hash` made -> that hash.

    Raises:
        BadHash: it has another form, or would take more time or memory than a server should give.
    """
    parts = text.split("$")
    if len(parts) != 6 or parts[0] != SCHEME:
        raise BadHash("not of the form scrypt$n$r$p$salt$key; `headrace passwd` makes one")
    try:
        n, r, p = (int(part) for part in parts[1:4] if part.isascii() and part.isdigit())
        salt, key = (base64.b64decode(part, validate=True) for part in parts[4:])
    except (ValueError, binascii.Error):
        raise BadHash("a number or base64 in it is broken") from None
    if not 8 <= len(salt) <= 64 or not 16 <= len(key) <= 64:
        raise BadHash("its salt has 8 to 64 bytes, its key 16 to 64")
    cost = Cost(n, r, p)
    cost.check()
    return Hash(cost, salt, key)


def _words(password: str) -> bytes:
    return password.encode("utf-8", "surrogateescape")


def _key(words: bytes, cost: Cost, salt: bytes, length: int) -> bytes:
    # OpenSSL counts some blocks more than 128 * n * r.
    memory_bytes = 128 * cost.r * (cost.n + cost.p + 2) + 2**20
    return hashlib.scrypt(
        words, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=memory_bytes, dklen=length
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
