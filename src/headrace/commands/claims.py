"""``headrace claims``: handed over to the claims, which parse their own arguments."""

__all__ = ["main"]


def main(words: list[str]) -> int:
    from headrace.claims import command

    return command.main(words)
