"""What a file's name says of its content: media type and coding.

Python's own table without the system's files, which differ from machine to machine: the same name
is served the same way everywhere.  Below it stands what that table lacks, or has otherwise in
some versions.
"""

from __future__ import annotations

import mimetypes

UNKNOWN = b"application/octet-stream"

ADDITIONS = {
    ".7z": "application/x-7z-compressed",
    ".apk": "application/vnd.android.package-archive",
    ".avif": "image/avif",
    ".br": "application/x-brotli",
    ".bz2": "application/x-bzip2",
    ".conf": "text/plain",
    ".deb": "application/vnd.debian.binary-package",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".ico": "image/vnd.microsoft.icon",
    ".ini": "text/plain",
    ".ipynb": "application/json",
    ".iso": "application/x-iso9660-image",
    ".jsonl": "application/jsonl",
    ".jxl": "image/jxl",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mkv": "video/matroska",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".py": "text/x-python",
    ".rpm": "application/x-rpm",
    ".rst": "text/x-rst",
    ".rtf": "application/rtf",
    ".toml": "application/toml",
    ".torrent": "application/x-bittorrent",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
# The codings that a file beside another may have, by the end of its name; in the order in which
# they are taken where the client likes them equally: smallest first.
CODINGS = ((b"br", ".br"), (b"zstd", ".zst"), (b"gzip", ".gz"))
# Of these the charset is told: the web assumes something else where it is not.
CHARSET_TYPES = ("text/", "application/javascript", "application/json", "application/xml")


def _table() -> dict[str, bytes]:
    known = mimetypes.MimeTypes(filenames=()).types_map[True]
    return {ending: _with_charset(kind) for ending, kind in {**known, **ADDITIONS}.items()}


def _with_charset(kind: str) -> bytes:
    suffix = "; charset=utf-8" if kind.startswith(CHARSET_TYPES) else ""
    return (kind + suffix).encode("ascii")


TYPES = _table()


def content_type(name: str) -> bytes:
    """The value of Content-Type for a file of this name (or path)."""
    dot = name.rfind(".")
    # ".profile" is a hidden file's whole name, and no ending.
    if dot <= 0 or name[dot - 1] == "/":
        return UNKNOWN
    return TYPES.get(name[dot:].lower(), UNKNOWN)


def accepted_codings(field: bytes) -> list[tuple[bytes, str]]:
    """Of CODINGS, those that *field*, the value of Accept-Encoding, takes; the best first.

    RFC 9110 section 12.5.3.  Empty where the plain file is liked better than any of them.
    """
    weights = _weights(field)
    any_other = weights.get(b"*", 0)
    # "If the representation has no content coding, then it is acceptable by default".
    plain = weights.get(b"identity", 0)
    liked = [
        (weights.get(name, any_other), -place, name, ending)
        for place, (name, ending) in enumerate(CODINGS)
    ]
    liked = [entry for entry in liked if entry[0] > 0 and entry[0] >= plain]
    return [(name, ending) for _, _, name, ending in sorted(liked, reverse=True)]


def _weights(field: bytes) -> dict[bytes, int]:
    """Each coding and how much it is liked, in thousandths."""
    weights = {}
    for element in field.lower().split(b","):
        name, _, parameter = element.partition(b";")
        name = name.strip()
        weight = _thousandths(parameter.strip()) if parameter.strip() else 1000
        if name and weight is not None:
            # RFC 9110 section 8.4.1.3: "x-gzip" is the same as "gzip".
            weights[b"gzip" if name == b"x-gzip" else name] = weight
    return weights


def _thousandths(parameter: bytes) -> int | None:
    """Of "q=0.5", 500 (RFC 9110 section 12.4.2); None if it is malformed."""
    name, equals, value = parameter.partition(b"=")
    whole, _, fraction = value.strip().partition(b".")
    if not equals or name.strip() != b"q" or whole not in (b"0", b"1"):
        return None
    if len(fraction) > 3 or (fraction and not fraction.isdigit()):
        return None
    return min(int(whole) * 1000 + int(fraction.ljust(3, b"0")), 1000)
