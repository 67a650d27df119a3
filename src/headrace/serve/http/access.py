"""Who asks: Basic authentication (RFC 7617), and what a client is told who must say so."""

from __future__ import annotations

import base64
import binascii

# The realm says nothing of the machine; the charset is that of RFC 7617 section 2.1.
CHALLENGE = b'WWW-Authenticate: Basic realm="files", charset="UTF-8"\r\n'
CREDENTIALS_BYTES_MAX = 1024


def credentials(field: bytes) -> tuple[str, str] | None:
    """Name and password in *field*, the value of Authorization; None if it is none of ours."""
    scheme, _, encoded = field.partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) > CREDENTIALS_BYTES_MAX:
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = decoded.partition(":")
    return (name, password) if colon and "\0" not in decoded else None
