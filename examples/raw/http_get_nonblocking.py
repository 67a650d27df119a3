"""An HTTP request over a socket that never blocks: each call is made again until it succeeds.

Model 2 of Stevens' five, non-blocking I/O. Nobody waits: connect() says EINPROGRESS, send() and
recv() say EAGAIN, and each time the program could do something else; this one counts. Once data are
there, recv() is blocked as ever while the kernel copies them. (To look up a name blocks all the
same: getaddrinfo() knows no other way.)

    python examples/raw/http_get_nonblocking.py http://HOST[:PORT]/PATH
"""

import errno
import os
import socket
import sys
from urllib.parse import urlsplit


def insist(call, argument):
    """What the call brings at last, and how often it was made in vain."""
    in_vain = 0
    while True:
        try:
            return call(argument), in_vain
        except BlockingIOError:
            in_vain += 1


def connect(connection, address):
    error = connection.connect_ex(address)  # once more: how is it going?
    if error in (errno.EINPROGRESS, errno.EALREADY):
        raise BlockingIOError
    if error not in (0, errno.EISCONN):
        raise OSError(error, os.strerror(error))


def parse(text):
    """Host, port, and what to ask for; a query is a part of that."""
    url = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if url.scheme != "http" or not url.hostname or not is_plain:
        raise ValueError("expected http://HOST[:PORT]/PATH, in ASCII and without blanks")
    query = f"?{url.query}" if url.query else ""
    return url.hostname, 80 if url.port is None else url.port, (url.path or "/") + query


def get(host, port, path):
    """The reply as it comes, headers and all, and how often each call was made in vain."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, socket.AF_INET)[0]
    with socket.socket(family, kind) as connection:
        connection.setblocking(False)
        _, connects = insist(lambda address: connect(connection, address), address)
        request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode()
        sends = receives = 0
        while request:
            count, in_vain = insist(connection.send, request)
            request, sends = request[count:], sends + in_vain
        reply, data = b"", None
        while data != b"":  # HTTP/1.0: the reply ends with its connection
            data, in_vain = insist(connection.recv, 65536)
            reply, receives = reply + data, receives + in_vain
    return reply, f"in vain: {connects} x connect, {sends} x send, {receives} x recv"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} http://HOST[:PORT]/PATH")
    try:
        reply, in_vain = get(*parse(sys.argv[1]))
    except (ValueError, OSError) as error:
        sys.exit(f"{sys.argv[1]!r}: {error}")
    status = reply.partition(b"\r\n")[0].decode(errors="replace")
    print(f"{status}, {len(reply)} bytes; {in_vain}")
