"""The upper-case server with select(): one thread waits for all connections at once.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in select() until somebody is ready;
the recv() after it does not wait, but is blocked while the kernel copies. Each call takes the whole
sets to the kernel, which looks at all of them. Descriptors above 1023 have no place in a set.

    python examples/raw/select_server.py [PORT]
"""

import contextlib
import resource
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
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))  # none above 1023
    listener.setblocking(False)
    unsent, has_room = {}, True  # unsent: by connection
    while True:
        readers = [one for one, rest in unsent.items() if not rest] + [listener] * has_room
        writers = [one for one, rest in unsent.items() if rest]
        readable, writable, _ = select.select(readers, writers, [])  # waits
        for ready in readable + writable:
            if ready is listener:
                try:
                    connection, _ = listener.accept()
                except OSError:  # no descriptor is free (EMFILE): until somebody leaves
                    has_room = False
                    continue
                connection.setblocking(False)
                unsent[connection] = b""
            elif not answer(ready, unsent):
                del unsent[ready]
                ready.close()
                has_room = True


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
