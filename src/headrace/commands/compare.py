"""``headrace compare``: handed over to the lab, which parses its own arguments."""

__all__ = ["main"]


def main(words: list[str]) -> int:
    from headrace.lab import compare

    return compare.main(words)
