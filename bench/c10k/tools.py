"""The system's own tools, called: ip, tc, sysctl, nsenter."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class NoBoxError(Exception):
    """The box cannot be made here, and why."""


def said(command: Sequence[str]) -> str:
    """What a command answers.

    Raises:
        NoBoxError: it failed.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoBoxError(f"{command[0]} is missing here (iproute2, util-linux)") from None
    if answer.returncode:
        raise NoBoxError(f"{' '.join(command)}: {answer.stderr.strip()}")
    return answer.stdout
