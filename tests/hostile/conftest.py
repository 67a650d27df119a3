"""Fixtures of the hostile suite: the peer in the middle, and loops that sequences are played on."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests here import their own modules, however pytest is called.
sys.path.insert(0, str(Path(__file__).parent))

from player import Surroundings
from proxy import Proxy

CERTIFICATE = Path(__file__).parent.parent / "conformance" / "localhost.pem"


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    folder = str(tmp_path_factory.mktemp("hostile"))
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(CERTIFICATE)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_tls.load_verify_locations(CERTIFICATE)
    proxy = Proxy(folder)
    try:
        yield Surroundings(proxy, folder, server_tls, client_tls)
    finally:
        proxy.close()
