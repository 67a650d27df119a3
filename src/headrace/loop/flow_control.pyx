"""Flow control: how much may wait to be sent before the protocol is told to pause.

What users call (get_write_buffer_size() and its like) stands in the transports that write: one
that only reads has no such methods, and shares this base all the same.
"""

from headrace.loop.connection cimport Connection

cdef size_t HIGH_WATER_DEFAULT = 64 * 1024


cdef class FlowControl(Connection):
    def __cinit__(self):
        self.high_water = HIGH_WATER_DEFAULT
        self.low_water = HIGH_WATER_DEFAULT // 4

    def set_protocol(self, protocol):
        # Resume is the answer to pause: who comes after a protocol that was paused was not told
        # so, and asyncio.sslproto takes an unasked resume_writing() for an error.
        if protocol is not self.protocol:
            self.protocol_paused = False
        Connection.set_protocol(self, protocol)

    cdef int set_limits(self, object high, object low) except -1:
        if high is None:
            high = HIGH_WATER_DEFAULT if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_water = high
        self.low_water = low
        return self.maybe_pause_protocol()

    cdef int maybe_pause_protocol(self) except -1:
        if self.buffered <= self.high_water or self.protocol_paused:
            return 0
        self.protocol_paused = True
        return self.tell_protocol("pause_writing")

    cdef int maybe_resume_protocol(self) except -1:
        if not self.protocol_paused or self.buffered > self.low_water:
            return 0
        self.protocol_paused = False
        # Nobody has called us here: the context is the connection's, as for data_received().
        entered = self.enter_context()
        try:
            return self.tell_protocol("resume_writing")
        finally:
            self.leave_context(entered)

    cdef int tell_protocol(self, str name) except -1:
        try:
            getattr(self.protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.report(error, f"protocol.{name}() failed")
        return 0


cdef str describe(FlowControl transport, bint paused):
    """What repr() of a socket's transport says."""
    parts = [transport.__class__.__name__]
    if transport.lost and transport.fd < 0:
        parts.append("closed")
    elif transport.closing:
        parts.append("closing")
    parts.append(f"fd={transport.fd}")
    if transport.fd >= 0:
        parts.append("read=paused" if paused else "read=polling")
        parts.append(f"write_buffer_size={transport.buffered}")
    return f"<{' '.join(parts)}>"
