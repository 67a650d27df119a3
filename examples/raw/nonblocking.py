"""The upper-case server with non-blocking I/O: it asks again and again.

Model 2 of Stevens' five, non-blocking I/O. Nobody waits: recv() returns at once, with EAGAIN where
nothing is there, and the program asks every connection in turn, for ever. That burns a whole core
even while all clients are silent, and a nap between two turns would delay every answer by it. Once
data is there, recv() is blocked as ever while the kernel copies.

    python examples/raw/nonblocking.py [PORT]
"""

import contextlib
import socket
import sys


def answer(connection, unsent):
    """Sends what is left, else reads more; answers whether the client is still there."""
    try:
        data = unsent[connection] = unsent[connection] or connection.recv(65536).upper()  # copies
        unsent[connection] = data[connection.send(data) :]  # what there was no room for
        return data != b""
    except BlockingIOError:  # asked in vain, as most of the time
        return True
    except OSError:
        return False


def main(listener):
    listener.setblocking(False)
    unsent = {}  # by connection
    while True:  # a busy loop, which is the point
        with contextlib.suppress(OSError):  # nobody is there (EAGAIN), or no room (EMFILE)
            connection, _ = listener.accept()
            connection.setblocking(False)
            unsent[connection] = b""
        for connection in tuple(unsent):
            if not answer(connection, unsent):
                del unsent[connection]
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
