"""The upper-case server with POSIX asynchronous I/O: aio_read() and aio_write(), by ctypes.

Model 5 of Stevens' five. We neither wait for data nor copy them: aio_read() returns at once, and a
signal comes when they are in our memory. On Linux the kernel has no part in that: a thread of glibc
waits and copies, one for each connection. And AIO cannot accept(): a signal says when we can.

    python examples/raw/aio_server.py [PORT]
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import struct
import sys

CLIENTS_MAX = 1000  # each has a thread
DONE = signal.SIGRTMIN + 1
AIOCB = struct.Struct("iiiPnlii80xl32x")  # fd, opcode, priority, buffer, size, sigevent, offset


def serve(connection, block):
    """Answers one client; yields while an operation is under way."""
    fd, memory = connection.fileno(), ctypes.create_string_buffer(65536)

    def begin(function, first, size):
        block[:] = AIOCB.pack(fd, 0, 0, ctypes.addressof(memory) + first, size, fd, DONE, 0, 0)
        if function(block) == 0:
            yield
        return max(0, aio.aio_return(block))  # 0 of one who has left, and of one who is lost

    with connection:
        while count := (yield from begin(aio.aio_read, 0, 65536)):
            memory[:count], sent = memory[:count].upper(), 0
            while sent < count and (done := (yield from begin(aio.aio_write, sent, count - sent))):
                sent += done


def main(listener):
    signal.pthread_sigmask(signal.SIG_BLOCK, {DONE, signal.SIGIO, signal.SIGALRM})
    fcntl.fcntl(listener, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(listener, fcntl.F_SETSIG, DONE)
    fcntl.fcntl(listener, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    aio.aio_init((ctypes.c_int * 8)(CLIENTS_MAX, CLIENTS_MAX))  # threads, of 20 otherwise
    signal.setitimer(signal.ITIMER_REAL, 1, 1)  # all are asked each second, however busy some are
    clients = {}  # by descriptor
    while True:
        told = signal.sigwaitinfo({DONE, signal.SIGIO, signal.SIGALRM})  # waits
        fds = {told.si_status} if told.si_signo == DONE else {listener.fileno(), *clients}
        for fd in fds:  # one, or all: with the queue full a signal is lost, and EAGAIN its outcome
            is_done = fd in clients and aio.aio_error(clients[fd][0]) != errno.EINPROGRESS
            if is_done and next(clients[fd][1], "it has left"):
                del clients[fd]
                fds = {*fds, listener.fileno()}  # there is room for somebody else
        with contextlib.suppress(OSError):  # nobody is there (EAGAIN), or no descriptor (EMFILE)
            while listener.fileno() in fds and len(clients) < CLIENTS_MAX:
                connection, block = listener.accept()[0], ctypes.create_string_buffer(AIOCB.size)
                clients[connection.fileno()] = block, serve(connection, block)
                next(clients[connection.fileno()][1], None)


if (platform.machine(), platform.libc_ver()[0], AIOCB.size) != ("x86_64", "glibc", 168):
    sys.exit("aio_server.py knows struct aiocb only as glibc has it on x86_64 with 64 bits")
aio = ctypes.CDLL("librt.so.1")  # all in libc.so.6 since glibc 2.34
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
    os._exit(0)  # before the threads of glibc write into memory that Python has freed
