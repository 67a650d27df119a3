"""On which model a program that is not ours ran while it was loaded.

Its loops say so themselves, see headrace.loop.witness.  What counts is what runs under the load, in
any process of the tree: a loop that prepared something and ended before is no proof, and neither
is the line of a process that is gone.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence

from headrace.lab.contenders import Contender
from headrace.loop.witness import ENDS, VARIABLE
from headrace.models.registry import model_class

NO_LOOP = (
    "it asked for another one by name, or has none, or runs another Python, or python with -E, -I"
    " or -S"
)
COMPLAINT = "headrace: not active in "
"""How the line of activation/sitecustomize.py begins."""
WRITABLE_BY_ALL = 0o622
"""The program may have given up its user before it makes a loop."""


class Witness:
    """The file in which the loops of one server say that they run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.loaded_at = 0

    def load_begins(self) -> None:
        """What is written from now on is about the load."""
        self.loaded_at = os.stat(self.path).st_size

    def models(self, pids: Collection[int]) -> list[str]:
        """The models of the loops that these processes have run since the load began."""
        with open(self.path, "rb") as file:
            text = file.read()
        before, since = text[: self.loaded_at], text[self.loaded_at :]
        running: dict[tuple[str, str], str] = {}
        for pid, loop, event, model in notes(before, pids):
            running[pid, loop] = "" if event == ENDS else model
        found = {model for model in running.values() if model}
        return sorted(found | {model for *_, model in notes(since, pids)})


def notes(text: bytes, pids: Collection[int]) -> Iterator[tuple[str, str, str, str]]:
    """The whole lines of these processes: (pid, loop, event, model)."""
    for line in text.decode(errors="replace").splitlines():
        parts = line.split(" ", 3)
        if len(parts) == 4 and parts[0].isdigit() and int(parts[0]) in pids:
            yield parts[0], parts[1], parts[2], parts[3]


@contextlib.contextmanager
def witness() -> Iterator[Witness]:
    """A witness for one start of a program; its file goes with it."""
    with tempfile.NamedTemporaryFile(prefix="headrace-witness-") as file:
        os.chmod(file.name, WRITABLE_BY_ALL)
        yield Witness(file.name)


def environment_with(contender: Contender, seen: Witness) -> dict[str, str]:
    return {**contender.environment, VARIABLE: seen.path}


def contradiction(
    contender: Contender, models: Sequence[str], complaint: str | None = None
) -> str | None:
    """Why the figures would not be this row's, or None.

    ``complaint`` is what the activation wrote where it could not load headrace.
    """
    if contender.kind == "headrace" and not models:
        return f"COMMAND made no headrace loop: {complaint or NO_LOOP}"
    # Its class may call another package's model otherwise than the entry point does.
    expected = [model_class(contender.name).name] if contender.kind == "headrace" else []
    if list(models) == expected:
        return None
    return f"COMMAND ran on {' and '.join(models)}, not {contender.name}"
