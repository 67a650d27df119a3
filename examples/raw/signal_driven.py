"""The upper-case server with signal-driven I/O: the kernel sends a signal for each change.

Model 4 of Stevens' five. Nobody has to wait for data: a signal says that they are there, and with
F_SETSIG where (having nothing else to do, we wait for signals). recv() does not wait, but is
blocked while the kernel copies. Each change is told once, as on epoll's edges. A full queue loses
signals: a bare SIGIO says so, what is queued is thrown away, and everybody is polled once.

    python examples/raw/signal_driven.py [PORT]
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys

READY = signal.SIGRTMIN + 1  # real-time signals are queued, and name the descriptor


def answer(connection, unsent):
    """Sends what is left, else reads more. Raises EOFError when the client has left."""
    data = unsent[connection] = unsent[connection] or connection.recv(65536).upper()  # copies
    unsent[connection] = data[connection.send(data) :]  # what there was no room for
    if not data:
        raise EOFError


def watch(sock):
    fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sock, fcntl.F_SETSIG, READY)
    fcntl.fcntl(sock, fcntl.F_SETFL, os.O_ASYNC)
    sock.setblocking(False)
    return sock.fileno()


def main(listener):
    signal.pthread_sigmask(signal.SIG_BLOCK, {READY, signal.SIGIO})
    connections, unsent, ready = {}, {}, {watch(listener)}
    while True:
        told = signal.sigtimedwait({READY, signal.SIGIO}, 0 if ready else 3600)  # waits
        if told and told.si_signo == READY:
            ready.add(told.si_status)  # si_fd of C stands in the same place
        elif told:
            while signal.sigtimedwait({READY}, 0):
                pass
            ready.update(connections, {listener.fileno()})
        for fd in tuple(ready):
            try:
                if fd in connections:
                    answer(connections[fd], unsent)
                    continue
                connection, _ = listener.accept()
                ready.add(watch(connection))  # of what has come before, no signal tells
                connections[connection.fileno()], unsent[connection] = connection, b""
            except (EOFError, OSError) as error:
                ready.discard(fd)
                if fd in connections and not isinstance(error, BlockingIOError):
                    del unsent[connections[fd]]
                    connections.pop(fd).close()
                    ready.add(listener.fileno())  # which had no descriptor left, maybe (EMFILE)


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
