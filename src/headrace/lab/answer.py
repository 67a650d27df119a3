"""Waiting until the user's service answers, and what to say when it does not.

Nobody there yet is what a start looks like, and so is 503: both are waited for, with a bound.  A
service that is up but listens elsewhere, or answers something else, will not become right by
waiting: it gets a moment, in case it is still starting, and then that is the reason.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass

from headrace.lab.listeners import listening_addresses
from headrace.lab.process import ServerProcess
from headrace.lab.target import ServerFailedError, Target

START_S_MAX = 30.0
"""How long a service may take to start when nothing is known about it."""
ANSWER_S_MAX = 10.0
UP_BUT_WRONG_S = 3.0
RETRY_S = 0.05
UNAVAILABLE = 503


@dataclass(frozen=True)
class Trouble:
    """Why a request was not answered with 2xx."""

    words: str
    is_up: bool
    """Whether somebody was there: waiting longer will hardly help."""


def wait_answer(server: ServerProcess, target: Target, patience_s: float) -> tuple[str, int]:
    """The address of the user's service, once its URL answers with a status of 2xx.

    Raises:
        ServerFailedError: it ended, answers something else or elsewhere, or took too long.
    """
    end_s = time.monotonic() + patience_s
    up_end_s = end_s
    while True:
        if server.popen.poll() is not None:
            raise ServerFailedError(server.last_words())
        trouble = ask(target, max(RETRY_S, min(ANSWER_S_MAX, end_s - time.monotonic())))
        if trouble is None:
            return target.address, target.port
        if not trouble.is_up:
            trouble = listens_elsewhere(server, target) or trouble
        now_s = time.monotonic()
        up_end_s = min(up_end_s, now_s + UP_BUT_WRONG_S) if trouble.is_up else end_s
        if now_s >= min(end_s, up_end_s):
            raise ServerFailedError(explained(trouble, server, patience_s))
        time.sleep(RETRY_S)


def ask(target: Target, timeout_s: float) -> Trouble | None:
    """One request; None if its status was 2xx."""
    place = f"{target.address}:{target.port}"
    connection = http.client.HTTPConnection(target.address, target.port, timeout=timeout_s)
    try:
        connection.request("GET", target.path, headers={"Host": target.host})
        reply = connection.getresponse()
        if reply.length is not None:  # else it may be a stream without an end
            reply.read()
    except ConnectionRefusedError:
        return Trouble(f"nobody listens on {place}", is_up=False)
    except TimeoutError:
        return Trouble(f"{place} gave no whole answer within {timeout_s:.2g} s", is_up=True)
    except http.client.BadStatusLine as error:
        if isinstance(error, ConnectionResetError):  # RemoteDisconnected is both
            return Trouble(f"{place} closed the connection without an answer", is_up=True)
        return Trouble(
            f"{place} does not speak HTTP: it answered {str(error).strip()[:60]!r}", is_up=True
        )
    except http.client.IncompleteRead:
        return Trouble(f"{place} closed the connection within its answer", is_up=True)
    except (OSError, http.client.HTTPException) as error:
        return Trouble(f"{place}: {error or type(error).__name__}", is_up=True)
    finally:
        connection.close()
    if 200 <= reply.status < 300:
        return None
    words = f"GET {target.path} is answered {reply.status} {reply.reason}".rstrip()
    return Trouble(words, is_up=reply.status != UNAVAILABLE)


def listens_elsewhere(server: ServerProcess, target: Target) -> Trouble | None:
    """What the service listens on instead, if anything."""
    found = listening_addresses(server.tree())
    if not found:
        return None
    words = f"COMMAND listens on {', '.join(found)}, not on {target.address}:{target.port}"
    return Trouble(words, is_up=True)


def explained(trouble: Trouble, server: ServerProcess, patience_s: float) -> str:
    """The trouble, and what the service wrote on its standard error, in one line."""
    words = trouble.words if trouble.is_up else f"{trouble.words} after {patience_s:g} s"
    lines = server.last_lines()
    return f"{words}; its standard error ends: {' | '.join(lines)}" if lines else words
