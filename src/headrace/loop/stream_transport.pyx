"""Stream transports: a connected TCP or Unix socket and its protocol.

The sides stand in stream_reading and stream_writing, what they share in connection; here is the
life of the whole: connection_made(), the steps that come up in the ready queue, close().
"""

from headrace.core.operation cimport STATE_IDLE
from headrace.core.ready_queue cimport ready_push
from headrace.loop.connection cimport STEP_BEGIN, STEP_DELIVER, STEP_FLUSH
from headrace.loop.engine cimport LoopCore
from headrace.loop.stream_writing cimport WritingSide

cdef extern from "Python.h":
    object PyContext_Copy(object context)
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyObject_CallMethodOneArg(object target, object name, object argument)

cdef str CONNECTION_MADE = "connection_made"


cdef StreamTransport make_transport(
    LoopCore loop, int fd, object sock, object protocol, object context, object server,
):
    """A transport for the connected descriptor *fd*; connection_made() comes in the next turn."""
    cdef StreamTransport transport = StreamTransport.__new__(StreamTransport)
    transport.loop = loop
    transport.sock = sock
    transport.base_context = context
    transport.server = server
    transport.set_protocol(protocol)
    if server is not None:
        loop._attach_to_server(server, transport)
    # Last: until here the descriptor is the caller's to close if something is raised.
    transport.fd = fd
    transport.remember_peer()
    loop.transports.set(fd, transport)
    ready_push(loop.ready, transport, STEP_BEGIN, 0)
    return transport


cdef class StreamTransport(WritingSide):
    def __repr__(self):
        parts = ["StreamTransport"]
        if self.lost and self.fd < 0:
            parts.append("closed")
        elif self.closing:
            parts.append("closing")
        parts.append(f"fd={self.fd}")
        if self.fd >= 0:
            parts.append("read=paused" if self.paused else "read=polling")
            parts.append(f"write_buffer_size={self.buffered}")
        return f"<{' '.join(parts)}>"

    cdef int run(self, int step, unsigned int flags) except -1:
        if step == STEP_FLUSH:
            self.dirty = False
            return 0 if self.lost else self.pump()
        if step == STEP_BEGIN:
            return self.begin()
        if step == STEP_DELIVER:
            self.deliver_queued = False
            return self.deliver_held()
        return self.finish()

    cdef int begin(self) except -1:
        """connection_made(), then reading, then the waiter: in asyncio's order."""
        context = PyContext_Copy(self.base_context)
        PyContext_Enter(context)
        try:
            PyObject_CallMethodOneArg(self.protocol, CONNECTION_MADE, self)
        except (SystemExit, KeyboardInterrupt):
            # The loop may be run again, and this connection with it.
            self.begun()
            raise
        except BaseException as error:
            self.report(error, "Exception in callback connection_made()")
        finally:
            PyContext_Exit(context)
        return self.begun()

    cdef int begun(self) except -1:
        if not self.closing and not self.paused:
            self.start_receiving()
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.cancelled():
            waiter.set_result(None)
        return 0

    def close(self):
        if self.closing:
            return
        self.closing = True
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.buffered == 0:
            self.lose(None)

    cdef int stop_operations(self) except -1:
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.send is not None:
            self.loop._model.stop(self.send)
        return 0

    cdef bint is_quiet(self) noexcept:
        return (
            self.loan is None
            and (self.receive is None or self.receive.state == STATE_IDLE)
            and (self.send is None or self.send.state == STATE_IDLE)
        )

    cdef int let_go(self) except -1:
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_exception(
                self.error or ConnectionAbortedError("the connection was closed")
            )
        self.chunks = None
        self.held = None
        if self.receive is not None:
            self.receive.side = None
            self.receive = None
        if self.send is not None:
            self.send.side = None
            self.send.source = None
            self.send = None
        return WritingSide.let_go(self)


def stream_transport(LoopCore loop, sock, protocol, waiter, extra, server):
    """A transport for *sock*, which is connected and non-blocking and is now the transport's."""
    cdef StreamTransport transport = make_transport(
        loop, sock.fileno(), sock, protocol, PyContext_CopyCurrent(), server
    )
    transport.waiter = waiter
    transport.extra = extra
    return transport
