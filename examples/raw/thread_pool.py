"""The upper-case server with a pool of threads, made once.

Model 1 of Stevens' five, blocking I/O, with a bound. Each thread accepts a client, waits in recv()
and is blocked while the kernel copies, until that client leaves; then it takes the next. Load makes
no further threads. But a silent client keeps its thread, too: with WORKERS clients there, the next
one waits in the kernel's queue until somebody leaves.

    python examples/raw/thread_pool.py [PORT]
"""

import contextlib
import socket
import sys
import threading
import time

WORKERS = 64


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


def work(listener):
    while True:
        serve(accept(listener))


def main(listener):
    for _ in range(WORKERS):
        threading.Thread(target=work, args=(listener,), daemon=True).start()
    threading.Event().wait()


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
