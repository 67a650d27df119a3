"""Stream transports: a connected TCP or Unix socket and its protocol.

The sides stand in stream_reading and stream_writing, what they share in connection; here is how
one is made.
"""

from cpython.object cimport PyObject

from headrace.loop.engine cimport LoopCore
from headrace.loop.flow_control cimport describe
from headrace.loop.stream_writing cimport WritingSide

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    PyObject **_PyObject_GetDictPtr(object instance)


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
    transport.own(fd, True)
    transport.remember_peer()
    return transport


cdef bint has_attributes(StreamTransport transport) noexcept:
    """Has somebody put something in it, perhaps a method in the place of ours?"""
    return _PyObject_GetDictPtr(transport)[0] != NULL


cdef class StreamTransport(WritingSide):
    def __repr__(self):
        return describe(self, self.paused)


def stream_transport(LoopCore loop, sock, protocol, waiter, extra, server):
    """A transport for *sock*, which is connected and non-blocking and is now the transport's."""
    cdef StreamTransport transport = make_transport(
        loop, sock.fileno(), sock, protocol, PyContext_CopyCurrent(), server
    )
    transport.waiter = waiter
    transport.extra = extra
    return transport
