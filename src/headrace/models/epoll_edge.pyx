"""epoll(7), edge-triggered: a descriptor is reported once, when it becomes ready.

Facts.  With EPOLLET the kernel speaks on the change, not on the state: what is not drained is
not reported again.  In return a descriptor is registered once for both directions and never
changed, so that waiting to write, pausing and resuming cost no epoll_ctl.

The smallest program that loses the end of a stream: register a socket with EPOLLIN | EPOLLET;
the peer sends "x" and closes before we wait; one event comes; recv answers 1, fewer than asked
for, which usually means "drained"; wait again, and wait for ever, for FIN was in the same edge.
EPOLLRDHUP tells: after it, the reactor reads until it has seen the end.  Two more things make a
receive short that has not drained: TCP's urgent byte (EPOLLPRI tells) and, on Unix sockets, a
piece that carries descriptors (nothing tells, so there no short read counts as drained).
"""

from headrace.kernel.epoll cimport EPOLLET, EPOLLPRI, EPOLLRDHUP
from headrace.models.epoll cimport EpollReadiness


cdef class EpollEdgeReadiness(EpollReadiness):
    name = "epoll-edge"
    capabilities = {**EpollReadiness.capabilities, "edge_triggered": True}
    edge_triggered = True

    def __cinit__(self):
        self.trigger = EPOLLET | EPOLLRDHUP | EPOLLPRI
