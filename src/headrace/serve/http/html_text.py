"""Text as it stands in our pages: nothing that a file may be called is markup, or invisible."""

from __future__ import annotations

import html
import time

# Joiners that scripts and emoji need, and that cannot turn the order of other characters.
HARMLESS = "‌‍"
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def shown(name: str) -> str:
    """A name as HTML; what would not be seen, or would move what is, stands as its code point."""
    if name.isprintable():
        return html.escape(name)
    return "".join(
        html.escape(character)
        if character.isprintable() or character in HARMLESS
        else f"<i>{code_point(character)}</i>"
        for character in name
    )


def plain(name: str) -> str:
    """The same for attributes and titles, where nothing can be emphasised."""
    return html.escape(
        "".join(
            character if character.isprintable() else code_point(character) for character in name
        )
    )


def code_point(character: str) -> str:
    """U+202E; of a byte that is no UTF-8, \\xff."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"U+{code:04X}"


def size_text(size_bytes: float) -> str:
    """As people read it: 17 B, 1.5 KiB, 340 MiB."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    value = size_bytes
    for unit in UNITS:
        value /= 1024
        # What would be rounded to 1024 belongs to the next unit.
        if value < 1023.5:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{value:,.0f} {UNITS[-1]}"


def time_text(seconds: float) -> tuple[str, str]:
    """(for machines, for people), in UTC."""
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return "", "?"
    return (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        time.strftime("%Y-%m-%d %H:%M", moment),
    )


def duration_text(seconds: float) -> str:
    """3 s, 4 min, 5 h, 6 d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"
