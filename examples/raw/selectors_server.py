"""The upper-case server with selectors: callbacks, on the best that the system has.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in select() of DefaultSelector (epoll
on Linux) until somebody is ready; the recv() after it does not wait, but is blocked while the
kernel copies. A socket is registered with what to call when it is ready: asyncio is built on this.

    python examples/raw/selectors_server.py [PORT]
"""

import contextlib
import selectors
import socket
import sys
from functools import partial

selector = selectors.DefaultSelector()
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


def accept(listener):
    try:
        connection, _ = listener.accept()
    except OSError:  # no descriptor is free (EMFILE): until somebody leaves
        return selector.unregister(listener)
    connection.setblocking(False)
    selector.register(connection, READ, partial(receive, listener))


def receive(listener, connection):
    try:
        data = connection.recv(65536)  # copies
    except BlockingIOError:  # ready a moment ago
        return
    except OSError:
        data = b""
    if data:
        return send(data.upper(), listener, connection)
    selector.unregister(connection)
    connection.close()
    if listener not in selector.get_map():
        selector.register(listener, READ, accept)


def send(data, listener, connection):
    """Sends what there is room for; the rest when the selector says so."""
    try:
        data = data[connection.send(data) :]
    except BlockingIOError:
        pass
    except OSError:
        data = b""  # receive() hears of it as well
    if data:
        selector.modify(connection, WRITE, partial(send, data, listener))
    else:
        selector.modify(connection, READ, partial(receive, listener))


def main(listener):
    listener.setblocking(False)
    selector.register(listener, READ, accept)
    while True:
        for key, _ in selector.select():  # waits
            key.data(key.fileobj)


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
