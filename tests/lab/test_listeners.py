"""Where a process listens, by its own sockets."""

import os
import socket

import pytest

from headrace.lab.listeners import listening_addresses, readable


def test_listeners_of_a_process_are_its_listening_sockets():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        found = listening_addresses([os.getpid()])
        assert f"127.0.0.1:{listener.getsockname()[1]}" in found
        assert f"127.0.0.1:{client.getsockname()[1]}" not in found
        assert listening_addresses([]) == []


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_listeners_are_written_with_brackets_for_ipv6():
    assert readable("00000000000000000000000001000000:1F90", socket.AF_INET6) == "[::1]:8080"
