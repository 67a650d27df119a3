"""A client for two people at once: the terminal and the socket, whichever has something first.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in select() for keyboard and server;
read() and recv() after it do not wait, but are blocked while the kernel copies. A client
that waits in input() hears nothing from the server until somebody presses Enter. select() and not
epoll: with `< FILE` the terminal is a regular file, which epoll refuses (EPERM).

    python examples/raw/terminal_chat.py [HOST:]PORT
"""

import contextlib
import os
import select
import socket
import sys

KEYBOARD, SCREEN = 0, 1
UNSENT_MAX = 65536


def show(data):
    while data:
        data = data[os.write(SCREEN, data) :]


def chat(server):
    server.setblocking(False)
    unsent, is_typing = b"", True
    while True:
        readers = [server]
        if is_typing and len(unsent) < UNSENT_MAX:  # who does not listen is not talked to
            readers.append(KEYBOARD)
        readable, writable, _ = select.select(readers, [server] if unsent else [], [])  # waits
        if KEYBOARD in readable:
            line = os.read(KEYBOARD, 4096)  # not input(), which would hide what it has read ahead
            unsent, is_typing = unsent + line, line != b""
        with contextlib.suppress(BlockingIOError):
            if writable:
                unsent = unsent[server.send(unsent) :]
            if server in readable:
                data = server.recv(65536)
                if not data:
                    return "the server has left" if is_typing else None
                show(data)
        if not (is_typing or unsent):
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)  # Ctrl-D: no more of us, but we hear the rest


def address(text):
    host, _, port = text.rpartition(":")
    if not 0 <= int(port) <= 65535:  # which getaddrinfo() would take modulo 65536
        raise ValueError(f"port {port} is not from 0 to 65535")
    return host or "127.0.0.1", int(port)


if __name__ == "__main__":
    if None in (sys.stdin, sys.stdout):  # their numbers would be the socket's
        sys.exit("a chat needs a keyboard and a screen: standard input or output is closed")
    with contextlib.suppress(KeyboardInterrupt):
        try:
            with socket.create_connection(address(" ".join(sys.argv[1:]))) as server:
                sys.exit(chat(server))
        except ValueError as error:
            sys.exit(f"{error}; usage: python {sys.argv[0]} [HOST:]PORT")
        except OSError as error:
            sys.exit(str(error))
