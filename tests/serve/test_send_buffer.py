"""How much the kernel holds for a client: bounded at first, its own measure for who is fast."""

from __future__ import annotations

import socket
import time

import pytest

from headrace.serve.limits import Limits
from headrace.serve.send_buffer import (
    FAST_BYTES_PER_S,
    SO_BUF_LOCK,
    TAKEN_TIMES,
    UNSENT_TIMES,
    lift_if_fast,
    limit_send_buffer,
)

LIMITS = Limits()
ENOUGH_BYTES = TAKEN_TIMES * LIMITS.send_buffer_bytes
SNDBUF_IS_FIXED = 1


@pytest.fixture
def sock():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            limit_send_buffer(server, LIMITS)
            yield server


def is_fixed(sock):
    return bool(sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) & SNDBUF_IS_FIXED)


def test_buffer_is_bounded_at_first(sock):
    # socket(7): the kernel doubles it.
    held = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert held == 2 * LIMITS.send_buffer_bytes
    assert is_fixed(sock)


def test_fast_client_gets_the_kernels_measure_and_a_bound_of_what_is_unsent(sock):
    assert lift_if_fast(sock, LIMITS, ENOUGH_BYTES, time.monotonic() - 1)
    assert not is_fixed(sock)
    unsent_max = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert unsent_max == UNSENT_TIMES * LIMITS.send_buffer_bytes


def test_who_has_taken_little_has_shown_nothing(sock):
    assert not lift_if_fast(sock, LIMITS, ENOUGH_BYTES - 1, time.monotonic())
    assert is_fixed(sock)


def test_slow_client_keeps_the_bound(sock):
    began_s = time.monotonic() - 2 * ENOUGH_BYTES / FAST_BYTES_PER_S
    assert not lift_if_fast(sock, LIMITS, ENOUGH_BYTES, began_s)
    assert is_fixed(sock)


def test_older_kernel_keeps_the_bound_and_is_asked_once():
    class OldSocket:
        def setsockopt(self, *arguments):
            raise OSError(92, "Protocol not available")

    assert lift_if_fast(OldSocket(), LIMITS, ENOUGH_BYTES, time.monotonic())
