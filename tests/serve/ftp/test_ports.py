"""Passive ports: named by us, beside TIME_WAIT, never the reserved ones."""

import random
import socket

import pytest

from headrace.serve.ftp.ports import NoPort, Ports, listening, parse_ranges

LOOPBACK = (socket.AF_INET, "127.0.0.1")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_a_port_is_of_the_range() -> None:
    ports = Ports.of_system()
    sock, port = listening(*LOOPBACK, ports)
    with sock:
        assert sock.getsockname() == ("127.0.0.1", port)
        assert ports.first <= port <= ports.last


def test_a_port_that_is_taken_is_not_tried_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NoPort):
            listening(*LOOPBACK, Ports(port, port))


def test_a_reserved_port_is_left_alone() -> None:
    port = free_port()
    with pytest.raises(NoPort):
        listening(*LOOPBACK, Ports(port, port, frozenset([port])))


def test_a_port_in_time_wait_is_taken_again() -> None:
    listener, port = listening(*LOOPBACK, Ports(1024, 65535))
    with listener:
        client = socket.create_connection(("127.0.0.1", port))
        listener.setblocking(True)
        sock, _ = listener.accept()
    sock.shutdown(socket.SHUT_WR)  # we are the first to close: TIME_WAIT is ours
    assert client.recv(1) == b""
    client.close()
    assert sock.recv(1) == b""
    sock.close()
    again, _ = listening(*LOOPBACK, Ports(port, port))
    again.close()


def test_few_ports_are_all_tried() -> None:
    assert sorted(Ports(2000, 2004).candidates()) == [2000, 2001, 2002, 2003, 2004]


def test_the_kernels_list_is_understood() -> None:
    assert parse_ranges("\n") == frozenset()
    assert parse_ranges("8080,9000-9002\n") == {8080, 9000, 9001, 9002}


def test_ports_are_not_told_by_the_state_of_the_random_module() -> None:
    def some() -> list[int]:
        random.seed(1)
        return Ports(1024, 65535).candidates()

    assert some() != some()
