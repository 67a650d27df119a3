"""Numbers of bytes as people write them."""

__all__ = ["parse_bytes"]

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
BYTES_MAX = 2**60


def parse_bytes(text: str) -> int:
    """``10M`` -> 10,485,760.  Raises ValueError."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not digits.isascii() or not digits.isdigit() or (unit and unit not in UNITS):
        raise ValueError(f"{text!r} is no number of bytes, such as 500000, 64K, 10M or 2G")
    value = int(digits[:20]) * UNITS.get(unit, 1)
    if not 0 < value <= BYTES_MAX:
        raise ValueError(f"{text!r} is not from 1 to {BYTES_MAX:,} bytes")
    return value
