"""The descriptor table, through what the loop keeps in it."""

from __future__ import annotations

import os
import resource
import socket

import pytest

from headrace.core.descriptor_table import DescriptorTable


def test_table_begins_empty():
    table = DescriptorTable()
    assert len(table) == 0
    assert list(table) == []


@pytest.mark.parametrize("fd", [-1, "x", None])
def test_what_is_no_descriptor_is_refused(loop, fd):
    with pytest.raises((ValueError, TypeError)):
        loop.add_reader(fd, print)


def test_readers_of_scattered_descriptors_each_get_their_own_events(loop):
    """Low and high numbers, replaced and removed, in a table that grows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    pairs = []
    seen = []
    try:
        for wanted in (0, 100, 1000, 3000):
            near, far = socket.socketpair()
            if wanted:
                high = os.dup2(near.fileno(), wanted)
                near.close()
                near = socket.socket(fileno=high)
            pairs.append((near, far))
            loop.add_reader(near, seen.append, wanted)
        for _, far in pairs:
            far.send(b"x")
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        assert set(seen) == {0, 100, 1000, 3000}
        for near, _ in pairs:
            assert loop.remove_reader(near)
            assert not loop.remove_reader(near)
    finally:
        for near, far in pairs:
            near.close()
            far.close()
