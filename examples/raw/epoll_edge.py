"""The upper-case server with epoll, edge-triggered: each change is told once.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in epoll_wait() for what is new; recv()
does not wait, but is blocked while the kernel copies. Who was reported stays in `ready` until a
call says EAGAIN: forgotten before that, it is never heard of again. Each of them gets one step at a
time: a client that never pauses must not keep the others waiting.

    python examples/raw/epoll_edge.py [PORT]
"""

import contextlib
import select
import socket
import sys

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET


def answer(connection, unsent):
    """Sends what is left, else reads more. Raises EOFError when the client has left."""
    data = unsent[connection] = unsent[connection] or connection.recv(65536).upper()  # copies
    unsent[connection] = data[connection.send(data) :]  # what there was no room for
    if not data:
        raise EOFError


def main(listener):
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, EDGES)
    connections, unsent, ready = {}, {}, set()  # by descriptor, by connection, descriptors
    while True:
        ready.update(fd for fd, _ in epoll.poll(0 if ready else -1))  # waits, if nobody is ready
        for fd in tuple(ready):
            try:
                if fd in connections:
                    answer(connections[fd], unsent)
                    continue
                connection, _ = listener.accept()
                connection.setblocking(False)
                connections[connection.fileno()], unsent[connection] = connection, b""
                epoll.register(connection, EDGES)  # what is there already is reported, too
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
