"""Pipe transports: one direction of a pipe, a FIFO, a socket, a terminal, and its protocol.

A pipe transport is one side of a stream whose operations are read(2) and write(2).  Nothing comes
back through a write end, so it is watched for reading: it becomes readable when nobody reads any
more.  (That is asyncio's way.  It takes data on a socket for the end, too, and terminals, which
may well have something to read, are not watched.)
"""

import errno
import logging
import os
import stat
from asyncio import constants, transports

from headrace.core.operation cimport READABLE, STATE_IDLE, PollOperation
from headrace.kernel.errors cimport os_error
from headrace.loop.connection cimport Connection
from headrace.loop.sockets cimport SocketMethods
from headrace.loop.stream_reading cimport ReadingSide, StreamReceive
from headrace.loop.stream_writing cimport StreamSend, WritingSide
from headrace.models.contract cimport COMPLETED

cdef object logger = logging.getLogger("asyncio")

cdef extern from "Python.h":
    object PyContext_CopyCurrent()


class ReadFace(transports.ReadTransport):
    """What isinstance() sees of a read end."""

    __slots__ = ()


class WriteFace(transports._FlowControlMixin, transports.WriteTransport):
    """What isinstance() sees of a write end."""

    __slots__ = ()


ReadFace.__name__ = ReadFace.__qualname__ = "ReadPipeTransport"
WriteFace.__name__ = WriteFace.__qualname__ = "WritePipeTransport"


cdef class ReadPipeTransport(ReadingSide):
    _start_tls_compatible = False
    _sendfile_compatible = constants._SendfileMode.UNSUPPORTED

    @property
    def __class__(self):
        return ReadFace

    def __repr__(self):
        return describe(self, self.receive is not None and self.receive.state != STATE_IDLE, "")

    def get_extra_info(self, name, default=None):
        return self.extra.get(name, default)

    @property
    def _pipe(self):
        return self.sock

    @_pipe.setter
    def _pipe(self, pipe):
        replace_pipe(self, pipe)

    cdef str noun(self):
        return "pipe transport"

    cdef int remember_names(self) except -1:
        return 0

    cdef StreamReceive new_receive(self):
        return StreamReceive(self.fd, scratch=(<SocketMethods>self.loop).scratch)

    cdef int ended(self, int result) except -1:
        if result < 0:
            return ReadingSide.ended(self, result)
        # Whatever eof_received() answers: there is no other direction to be kept open.
        self.closing = True
        try:
            return self.deliver_eof()
        finally:
            if not self.lost:
                self.lose(None)

    cdef int protocol_failed(self, object error, str message) except -1:
        """As in asyncio, unlike a socket's: the transport goes on."""
        return self.report(error, message)

    cdef int fatal_error(self, object error, str message) except -1:
        """A terminal says EIO when its other side hangs up; any other error is worth a line."""
        if not isinstance(error, OSError) or error.errno != errno.EIO:
            self.report(error, message)
        elif self.loop._debug:
            logger.debug("%r: %s", self, message, exc_info=error)
        self._force_close(error)
        return 0

    def close(self):
        if not self.closing:
            self.lose(None)

    cdef int close_descriptor(self) except -1:
        return close_pipe(self)


cdef class ReaderWatch(PollOperation):
    """Waits until nobody reads any more."""

    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef WritePipeTransport transport = self.transport
        if transport is None:
            return 0  # it has let go
        if transport.lost:
            return transport.finish_if_quiet()
        if result < 0:
            return transport.fatal_error(os_error(-result), "Cannot watch a pipe's reader")
        return transport.reader_gone()


cdef class WritePipeTransport(WritingSide):
    _start_tls_compatible = False
    _sendfile_compatible = constants._SendfileMode.UNSUPPORTED

    @property
    def __class__(self):
        return WriteFace

    def __repr__(self):
        polling = self.send is not None and self.send.state != STATE_IDLE
        return describe(self, polling, f"bufsize={self.buffered}")

    def get_extra_info(self, name, default=None):
        return self.extra.get(name, default)

    @property
    def _pipe(self):
        return self.sock

    @_pipe.setter
    def _pipe(self, pipe):
        replace_pipe(self, pipe)

    # What the other side of a stream could do: as asyncio.Transport without it.

    def is_reading(self):
        raise NotImplementedError

    def pause_reading(self):
        raise NotImplementedError

    def resume_reading(self):
        raise NotImplementedError

    cdef str noun(self):
        return "pipe transport"

    cdef int remember_names(self) except -1:
        return 0

    cdef StreamSend new_send(self):
        return StreamSend(self.fd, pipe=True)

    cdef bint may_write(self) except -1:
        """Late is no mistake here, not even after write_eof(): as in asyncio."""
        if self.closing:
            self.note_lost_write("pipe closed by peer or os.write(pipe, data) raised exception.")
            return False
        return True

    def write_eof(self):
        """A pipe's end is its descriptor's end: once what was written has been taken, close."""
        self.close()

    # The reader's end.

    cdef int start_operations(self) except -1:
        return self.start_watching() if self.can_watch else 0

    cdef int start_watching(self) except -1:
        self.watch = ReaderWatch(self.fd, READABLE)
        self.watch.owned = True
        self.watch.transport = self
        try:
            if self.loop._model.start(self.watch) == COMPLETED:
                return self.reader_gone()
        except OSError as error:
            self.report(error, f"Cannot write to {self!r}")
            return self.lose(error)
        return 0

    cdef int reader_gone(self) except -1:
        if self.loop._debug:
            logger.info("%r was closed by peer", self)
        self._force_close(BrokenPipeError() if self.buffered else None)
        return 0

    cdef int stop_operations(self) except -1:
        WritingSide.stop_operations(self)
        if self.watch is not None:
            self.loop._model.stop(self.watch)
        return 0

    cdef bint is_quiet(self) noexcept:
        return WritingSide.is_quiet(self) and (self.watch is None or self.watch.is_over())

    cdef int let_go(self) except -1:
        if self.watch is not None:
            self.watch.transport = None
            self.watch = None
        return WritingSide.let_go(self)

    cdef int close_descriptor(self) except -1:
        return close_pipe(self)


cdef object describe(Connection transport, bint polling, str more):
    """The words of asyncio's pipe transports."""
    parts = [transport.__class__.__name__]
    if transport.fd < 0:
        parts.append("closed")
    elif transport.closing:
        parts.append("closing")
    parts.append(f"fd={transport.fd}")
    if transport.fd < 0:
        return f"<{' '.join(parts)}>"
    if transport.loop._closed:
        parts.append("open")
    else:
        parts.append("polling" if polling else "idle")
    if more:
        parts.append(more)
    return f"<{' '.join(parts)}>"


cdef int replace_pipe(Connection transport, object pipe) except -1:
    """For programs that take the pipe away from asyncio's transports: it is theirs to close."""
    transport.sock = pipe
    transport.fd = -1 if pipe is None else pipe.fileno()
    return 0


cdef int close_pipe(Connection transport) except -1:
    """Closing a pipe object may fail: it may have a buffer of its own."""
    if transport.fd < 0:
        return 0  # it was taken away
    transport.fd = -1
    try:
        transport.sock.close()
    except Exception as error:
        transport.report(error, "Cannot close a pipe")
    return 0


cdef int check_kind(int fd, str message) except -1:
    """Refuse what cannot be waited for; the kind of file that *fd* is."""
    cdef int mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        raise ValueError(message)
    return stat.S_IFMT(mode)


cdef object begin_pipe(Connection transport, SocketMethods loop, pipe, protocol, waiter, extra):
    """What both kinds have in common; connection_made() comes in the next turn."""
    cdef int fd = pipe.fileno()
    os.set_blocking(fd, False)
    transport.loop = loop
    transport.base_context = PyContext_CopyCurrent()
    transport.set_protocol(protocol)
    transport.waiter = waiter
    transport.extra = {**(extra or {}), "pipe": pipe}
    transport.sock = pipe
    transport.own(fd, False)
    return transport


def read_pipe_transport(SocketMethods loop, pipe, protocol, waiter, extra):
    """A transport for the read end *pipe*, which is now the transport's."""
    check_kind(pipe.fileno(), "Pipe transport is for pipes/sockets only.")
    transport = ReadPipeTransport.__new__(ReadPipeTransport)
    return begin_pipe(transport, loop, pipe, protocol, waiter, extra)


def write_pipe_transport(SocketMethods loop, pipe, protocol, waiter, extra):
    """A transport for the write end *pipe*, which is now the transport's."""
    cdef WritePipeTransport transport = WritePipeTransport.__new__(WritePipeTransport)
    kind = check_kind(
        pipe.fileno(), "Pipe transport is only for pipes, sockets and character devices"
    )
    transport.can_watch = kind != stat.S_IFCHR
    return begin_pipe(transport, loop, pipe, protocol, waiter, extra)
