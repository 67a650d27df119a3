"""COMMAND is tried once as it is, before anything is measured.

A command that does not exist, ends at once or serves another port fails under every model in the
same way.  Found out here, that is one line, one wait and a wrong argument, instead of one for each
row.  And how long it takes to answer says how long it is worth waiting for it under each model.
"""

from __future__ import annotations

import time

from headrace.lab.answer import START_S_MAX, wait_answer
from headrace.lab.contenders import Contender
from headrace.lab.process import Cores, server_process
from headrace.lab.target import ServerFailedError, Target

PATIENCE_S_MIN = 5.0
PATIENCE_FACTOR = 5.0


class BadCommandError(ValueError):
    """COMMAND does not serve its URL, whatever it runs on; the message says what it does."""


def try_command(plain: Contender, target: Target, cores: Cores) -> float:
    """How long to wait, in seconds, for its answer under a model.

    Raises:
        BadCommandError: it cannot be started, ends, or does not answer the URL with 2xx.
    """
    began_s = time.monotonic()
    try:
        with server_process(plain.command, plain.environment, cores, talks=False) as server:
            wait_answer(server, target, START_S_MAX)
            took_s = time.monotonic() - began_s
    except ServerFailedError as error:
        raise BadCommandError(f"COMMAND does not serve its URL: {error}") from error
    except OSError as error:
        words = f"{error.strerror}: {error.filename!r}" if error.filename else str(error)
        raise BadCommandError(f"COMMAND cannot be started: {words}") from error
    return min(START_S_MAX, max(PATIENCE_S_MIN, took_s * PATIENCE_FACTOR))
