"""pyftpdlib in the C10K box: worker processes that share the port, each with a loop of its own.

Its own prefork model makes the loop before it forks; the processes then share one epoll descriptor
and take each other's events.  So here the processes come first.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

BACKLOG = 65535
CONNECTIONS_MAX = 1_000_000


def listener(host: str, port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((host, port))
    return found


def serve(host: str, port: int, directory: str) -> None:
    logging.disable(logging.ERROR)
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(directory)
    handler: Any = FTPHandler
    handler.authorizer = authorizer
    handler.use_sendfile = True
    server: Any = FTPServer(listener(host, port), handler, backlog=BACKLOG)
    server.max_cons = CONNECTIONS_MAX  # data connections and listeners count, too
    server.max_cons_per_ip = 0
    server.serve_forever(timeout=1.0, handle_exit=False)


def main() -> None:
    host, port, directory, workers = sys.argv[1:]
    for _ in range(int(workers) - 1):
        if os.fork() == 0:
            break
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(host, int(port), directory)


if __name__ == "__main__":
    main()
