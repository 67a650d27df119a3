"""The upper-case server with a thread for each connection.

Model 1 of Stevens' five, blocking I/O, many times over. Each connection's own thread waits in
recv() and is blocked while the kernel copies; the others run on. It reads like a server for one
client. Each client costs a stack, and each request a switch of threads.

    python examples/raw/threads.py [PORT]
"""

import contextlib
import socket
import sys
import threading
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
        connection = accept(listener)
        try:  # a daemon: Ctrl-C does not wait for clients
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
        except RuntimeError:  # the system has no further thread
            connection.close()


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
