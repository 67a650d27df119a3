"""HTTPS: the gate comes before the handshake, and nothing that comes with its end is lost."""

from __future__ import annotations

import base64
import socket
import ssl

import pytest
from http_server import CERTIFICATE, WAIT_S_MAX, read_all, responses
from test_session import LOOPS

from headrace.serve.meters import Meter
from headrace.serve.settings import Address

GET = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n"


def plain(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S_MAX)


def test_the_gate_comes_before_the_handshake(serve):
    with serve(tls=True, limit=["clients_per_address_max=2"]) as server:
        with plain(server), plain(server):
            server.wait(lambda: len(server.sessions) == 2)
            assert server.site.gate.clients == 2
            assert server.site.meters.get(Meter.TLS_SESSIONS) == 0
            with plain(server) as refused:
                assert read_all(refused) == b""
            assert server.site.meters.get(Meter.REFUSED) == 1
        server.wait(lambda: not server.sessions)
        assert server.site.gate.clients == 0
        with server.connect() as sock:
            sock.sendall(GET % b"small")
            assert sock.recv(1)
            assert server.site.meters.get(Meter.TLS_SESSIONS) == 1
        server.wait(lambda: not server.sessions)
        assert server.site.meters.get(Meter.TLS_SESSIONS) == 0


@pytest.mark.parametrize("loop_name", LOOPS)
def test_a_handshake_that_does_not_end_is_not_waited_for(serve, loop_name):
    limit = ["tls_handshake_timeout_s=0.1"]
    with serve(loop_name, tls=True, limit=limit) as server, plain(server) as sock:
        assert read_all(sock) == b""
        server.wait(lambda: not server.sessions)
        assert server.site.gate.clients == 0


@pytest.mark.parametrize("loop_name", LOOPS)
def test_who_shakes_hands_while_the_server_drains_is_let_go(serve, loop_name):
    with serve(loop_name, tls=True) as server, plain(server) as sock:
        server.wait(lambda: len(server.sessions) == 1)
        server.call(lambda: [session.drain() for session in list(server.sessions)])
        assert read_all(sock) == b""
        server.wait(lambda: not server.sessions)
        assert server.site.gate.clients == 0


def test_what_is_no_tls_ends_the_connection(serve):
    with serve(tls=True) as server, plain(server) as sock:
        sock.sendall(GET % b"small")
        assert b"HTTP" not in read_all(sock)
        server.wait(lambda: not server.sessions)


@pytest.mark.parametrize("loop_name", LOOPS)
def test_requests_that_come_with_the_end_of_the_handshake_are_answered(serve, folder, loop_name):
    """Finished and requests in one segment: they reach the session before start_tls() returns."""
    with serve(loop_name, tls=True) as server, plain(server) as sock:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        context.check_hostname = False
        tls = context.wrap_bio(incoming, outgoing)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(GET % b"small" + b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        sock.sendall(outgoing.read())
        answer = b""
        while True:
            try:
                if not (part := tls.read(65536)):
                    break
                answer += part
            except ssl.SSLZeroReturnError:
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        assert [len(response.body) for response in responses(answer)] == [1000, 1024 * 1024]


REQUIRED = {"tls_cert": str(CERTIFICATE), "tls_required": True}


def test_nothing_is_served_without_tls_where_it_is_required(serve, folder):
    https = Address("127.0.0.1", 8443)
    word = "Basic " + base64.b64encode(b"bob:secret").decode()
    with serve(anonymous="rw", https=https, **REQUIRED) as server:
        for target in ("/small", "/docs/", "/none", "/.status"):
            refused = server.ask("GET", target)
            assert (refused.status, b"at port 8443" in refused.body) == (403, True)
        assert server.ask("GET", "/small", Authorization=word).status == 403
        assert server.ask("HEAD", "/small").status == 403
        assert server.ask("PUT", "/new", b"new").status == 403
        assert not (folder / "new").exists()
    with serve(**REQUIRED) as server:
        assert b"port" not in server.ask("GET", "/small").body


def test_tls_that_is_required_serves(serve):
    with serve(tls=True, **REQUIRED) as server, server.connect() as sock:
        sock.sendall(GET % b"small")
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_figures_need_no_tls(serve):
    """Where they are served is an address of their own."""

    def with_metrics(site):
        site.status, site.metrics = (lambda: None), (lambda: "clients 7\n")

    with serve(prepare=with_metrics, status_only=True, **REQUIRED) as server:
        assert server.ask("GET", "/metrics").body == b"clients 7\n"


def test_another_certificate_serves_at_once(serve):
    """The context that the site has at the time of the handshake is the one."""
    with serve(tls=True) as server:
        good, server.site.tls = server.site.tls, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake"):
            server.connect()
        server.wait(lambda: not server.sessions)
        server.site.tls = good
        with server.connect() as sock:
            sock.sendall(GET % b"small")
            assert sock.recv(1)
