"""Clients that do anything in any order, through TLS and without, and go as they like.

Whatever they do: nothing is left of them, no descriptor, no temporary file, no gauge above zero;
and nothing reaches the loop's exception handler (`serving` looks).
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ftp_server import Client, Server, reset, wait_until

from headrace.serve.meters import GAUGES, Meter

CLIENTS = 4
SESSIONS = 10  # of each client, one after the other
ROUNDS_MAX = 15
COMMANDS = [
    *("RETR big", "RETR small", "STOR up", "APPE up", "STOU", "LIST", "NLST *", "MLSD", "HASH big"),
    *("ABOR", "NOOP", "STAT", "REIN", "PASV", "EPSV", "REST 10", "TYPE A", "TYPE I", "QUIT"),
    *("AUTH TLS", "USER anonymous", "PASS x", "PORT 127,0,0,1,100,1", "RNFR small", "RNTO small"),
]
LOGIN = ("USER anonymous", "PASS x", "TYPE I", "PBSZ 0", "PROT P")
FAILURES = (OSError, EOFError, AssertionError, ValueError)
QUIET_S = 0.03
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"


class Chaos:
    """One client."""

    def __init__(self, server: Server, tls: ssl.SSLContext, seed: int) -> None:
        self.server = server
        self.tls = tls
        self.random = random.Random(seed)
        self.socks: list[socket.socket] = []

    def run(self) -> None:
        for _ in range(SESSIONS):
            with contextlib.suppress(*FAILURES):
                self.session()
            for sock in self.socks:
                self.end(sock)
            self.socks.clear()

    def session(self) -> None:
        client = Client(self.server.port)
        self.socks.append(client.sock)
        client.answer()
        if self.random.random() < 0.3:
            client.encrypt(self.tls)
            self.socks[0] = client.sock
        for command in LOGIN:
            client.say(command)
        client.sock.settimeout(QUIET_S)
        for _ in range(self.random.randrange(1, ROUNDS_MAX)):
            with contextlib.suppress(*FAILURES):
                self.connect(client)
            client.send(*self.random.choices(COMMANDS, k=self.random.randrange(1, 4)))
            for at in range(1, len(self.socks)):
                with contextlib.suppress(*FAILURES):
                    self.move(at)
            with contextlib.suppress(TimeoutError):
                client.unread = b""
                client.sock.recv(65536)

    def connect(self, client: Client) -> None:
        if self.random.random() < 0.5:
            port = client.passive()
            self.socks.append(socket.create_connection(("127.0.0.1", port), 1))
            self.socks[-1].settimeout(QUIET_S)

    def move(self, at: int) -> None:
        """Do something with a data connection."""
        choice = self.random.randrange(6)
        if choice == 0:
            self.socks[at].sendall(CLIENT_HELLO)  # and no more of a handshake
        elif choice < 3:
            self.socks[at].recv(100_000)
        elif choice < 4:
            self.socks[at].sendall(b"data" * 100)
        elif choice < 5:
            self.end(self.socks[at])

    def end(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            (reset if self.random.random() < 0.5 else socket.socket.close)(sock)


@pytest.mark.parametrize("model", ["epoll", "uring"])
def test_nothing_is_left_of_clients_that_do_anything(
    start: Callable[..., Server],
    certificate: Path,
    client_tls: ssl.SSLContext,
    served: Path,
    model: str,
) -> None:
    (served / "big").write_bytes(b"x" * 8 * 2**20)
    (served / "small").write_bytes(b"y" * 1000)
    server = start(
        model=model,
        anonymous="rw",
        tls_cert=str(certificate),
        stall_timeout_s=2.0,
        data_connection_timeout_s=1.0,
    )
    clients = [Chaos(server, client_tls, seed) for seed in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(server.idle)
    meters = server.site.meters
    left = {meter.name for meter in GAUGES if meters.get(meter)}
    assert left <= {Meter.PID.name, Meter.STARTED_S.name}
    assert meters.get(Meter.ERRORS) == 0
    assert not [name for name in os.listdir(served) if name.startswith(".")]
