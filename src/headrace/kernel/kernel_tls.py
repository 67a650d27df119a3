"""Does the kernel encrypt (kTLS)?  Detected, and not used: see loop/openssl.pyx."""

import errno
import socket

# <linux/tcp.h>; the socket module has no name for it.
TCP_ULP = 31


def kernel_tls_refusal() -> str:
    """Why the kernel cannot take over the records of a TLS connection; empty where it can.

    /proc/sys/net/ipv4/tcp_available_ulp lists what is loaded; asking for it by setsockopt(2) also
    loads the module where that is allowed.  The kernel looks for the name first: a socket without a
    connection answers ENOTCONN if it knows TLS, and ENOENT if it does not.
    """
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return ""
            return f"setsockopt(TCP_ULP, tls): {error.strerror}"
    return ""
