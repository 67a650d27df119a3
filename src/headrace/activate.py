"""The environment in which an unchanged Python program runs on headrace.

Nothing is done to the program itself: it is started by the same ``python script.py`` as ever, and
Python's own start-up hook (``sitecustomize``, found through $PYTHONPATH) does the rest.  Hence exit
code, arguments, signals, standard streams and tracebacks are those of plain Python by construction.
"""

import os
from pathlib import Path

__all__ = ["environment"]

ACTIVATION = str(Path(__file__).resolve().parent / "activation")


def environment(model: str | None = None) -> dict[str, str]:
    """A copy of this process's environment in which asyncio programs run on headrace.

    Pass it as ``env=`` to subprocess or to os.execve(), with any command that starts Python.
    ``model`` is not checked here: see headrace.models().  None leaves $HEADRACE_MODEL as it is.
    It has no effect on a Python started with -E, -I or -S, which ignore $PYTHONPATH.
    """
    made = dict(os.environ)
    if model is not None:
        made["HEADRACE_MODEL"] = model
    others = [
        entry for entry in made.get("PYTHONPATH", "").split(os.pathsep) if entry != ACTIVATION
    ]
    made["PYTHONPATH"] = os.pathsep.join([ACTIVATION, *others]) if any(others) else ACTIVATION
    return made
