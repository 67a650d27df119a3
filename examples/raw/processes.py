"""The upper-case server with a process for each connection, forked when it is accepted.

Model 1 of Stevens' five, blocking I/O, once in each child: it waits in recv() and is blocked while
the kernel copies. Nothing is shared; a whole process each is the price. SIGCHLD says that one has
ended and must be reaped, and interrupts accept() (EINTR), which Python then calls again by itself.
After Ctrl-C in a terminal the children end, too; otherwise each serves its client to the end.

    python examples/raw/processes.py [PORT]
"""

import contextlib
import os
import signal
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


def serve_in_child(listener, connection):
    if os.fork() == 0:
        try:
            listener.close()
            serve(connection)
        finally:
            os._exit(0)  # what the parent has to clean up is not ours


def reap(*_):
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # one signal may stand for several children
            pass


def main(listener):
    signal.signal(signal.SIGCHLD, reap)
    while True:
        # The system may have no further process (EAGAIN), or no memory for one (ENOMEM).
        with accept(listener) as connection, contextlib.suppress(OSError):
            serve_in_child(listener, connection)


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
