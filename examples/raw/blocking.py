"""The upper-case server with blocking I/O: one client at a time.

Model 1 of Stevens' five, blocking I/O. The thread waits in recv() until data is there and stays in
it while the kernel copies them: blocked in both phases. It can do nothing else meanwhile, so the
second client is served when the first has left; until then the kernel keeps it in the listener's
queue, connected and unanswered.

    python examples/raw/blocking.py [PORT]
"""

import contextlib
import socket
import sys
import time


def accept(listener):
    """The next client; where no descriptor is free (EMFILE) it stays in the kernel's queue."""
    while True:
        try:
            return listener.accept()[0]
        except OSError:
            time.sleep(0.05)


def serve(connection):
    """Answers one client until it leaves, or is lost."""
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):  # waits, then copies
            connection.sendall(data.upper())  # until the kernel has taken all of it


def main(listener):
    while True:
        serve(accept(listener))


if __name__ == "__main__":
    try:
        port = int(" ".join(sys.argv[1:]) or 0)  # 0: the kernel chooses one
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"{error}; usage: python {sys.argv[0]} [PORT]")
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit it
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    with contextlib.suppress(KeyboardInterrupt), listener:
        main(listener)
