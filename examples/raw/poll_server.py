"""The upper-case server with poll(): select() without its limit.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in poll() until somebody is ready; the
recv() after it does not wait, but is blocked while the kernel copies. Each call takes a list to
the kernel, which looks at all of it; unlike select's sets, it has a place for any descriptor.

    python examples/raw/poll_server.py [PORT]
"""

import contextlib
import select
import socket
import sys


def answer(connection, unsent):
    """Sends what is left, else reads more; answers whether the client is still there."""
    try:
        data = unsent[connection] = unsent[connection] or connection.recv(65536).upper()  # copies
        unsent[connection] = data[connection.send(data) :]  # what there was no room for
        return data != b""
    except BlockingIOError:  # ready a moment ago
        return True
    except OSError:
        return False


def main(listener):
    listener.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    connections, unsent = {}, {}  # by descriptor, by connection
    while True:
        for fd, _ in poll.poll():  # waits
            if fd == listener.fileno():
                try:
                    connection, _ = listener.accept()
                except OSError:  # no descriptor is free (EMFILE): until somebody leaves
                    poll.modify(listener, 0)
                    continue
                connection.setblocking(False)
                connections[connection.fileno()], unsent[connection] = connection, b""
                poll.register(connection, select.POLLIN)
            elif answer(connections[fd], unsent):
                poll.modify(fd, select.POLLOUT if unsent[connections[fd]] else select.POLLIN)
            else:
                poll.unregister(fd)
                del unsent[connections[fd]]
                connections.pop(fd).close()
                poll.modify(listener, select.POLLIN)


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
