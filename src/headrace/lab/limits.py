"""Descriptors: how many a load needs, and whether this process may have them."""

from __future__ import annotations

import resource

SPARE_DESCRIPTORS = 64


class TooManyConnectionsError(ValueError):
    """The load needs more descriptors than the hard limit allows."""


def raise_descriptor_limit(connections: int) -> None:
    """Raises RLIMIT_NOFILE's soft limit as far as ``connections`` need; children inherit it.

    Raises:
        TooManyConnectionsError: the hard limit is lower than that.
    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise TooManyConnectionsError(
            f"{connections:,} connections need {needed:,} descriptors, but the hard limit of"
            f" RLIMIT_NOFILE is {hard:,} (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
