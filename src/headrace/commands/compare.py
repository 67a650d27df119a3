"""``headrace compare``: handed over to the lab, which is an extra with requirements of its own."""

import sys

__all__ = ["main"]


def main(words: list[str]) -> int:
    try:
        from headrace.lab import compare
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "headrace":
            raise
        print(
            f"headrace: compare needs the lab extra (no module {error.name!r});"
            " pip install 'headrace[lab]'",
            file=sys.stderr,
        )
        return 2
    return compare.main(words)
