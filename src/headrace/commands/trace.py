"""``headrace trace``: handed over to the recorder, which parses its own arguments."""

__all__ = ["main"]


def main(words: list[str]) -> int:
    from headrace.trace import command

    return command.main(words)
