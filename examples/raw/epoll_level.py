"""The upper-case server with epoll, level-triggered: the kernel remembers whom we watch.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in epoll_wait() until somebody is
ready; the recv() after it does not wait, but is blocked while the kernel copies. A connection is
told to the kernel once; a wait returns those that are ready (level: each time, until drained).

    python examples/raw/epoll_level.py [PORT]
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
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    connections, unsent = {}, {}  # by descriptor, by connection
    while True:
        for fd, events in epoll.poll():  # waits
            if fd == listener.fileno():
                try:
                    connection, _ = listener.accept()
                except OSError:  # no descriptor is free (EMFILE): until somebody leaves
                    epoll.modify(listener, 0)
                    continue
                connection.setblocking(False)
                connections[connection.fileno()], unsent[connection] = connection, b""
                epoll.register(connection, select.EPOLLIN)
            elif not answer(connections[fd], unsent):
                del unsent[connections[fd]]
                connections.pop(fd).close()  # which ends its watch
                epoll.modify(listener, select.EPOLLIN)
            elif bool(unsent[connections[fd]]) != bool(events & select.EPOLLOUT):
                epoll.modify(fd, select.EPOLLOUT if unsent[connections[fd]] else select.EPOLLIN)


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
