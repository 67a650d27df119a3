"""The writing side of a stream transport.

write() only gathers; at the end of the turn all that a connection has gathered goes out in one
send.  A large piece goes out at once, and so does a write beyond the high-water mark.  One send is
in flight per connection, which keeps the order.
"""

import logging

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from headrace.core.operation cimport STATE_IDLE, SendOperation
from headrace.core.ready_queue cimport ready_push
from headrace.core.statistics cimport CALL_SEND
from headrace.kernel cimport socket as socket_h
from headrace.kernel.errors cimport os_error
from headrace.loop.connection cimport STEP_FLUSH
from headrace.loop.stream_reading cimport ReadingSide
from headrace.models.contract cimport COMPLETED

cdef object logger = logging.getLogger("asyncio")

# Pieces are joined up to this many bytes: one send of many pieces costs less than many sends,
# and copying this much costs less than the system call that it saves.
cdef size_t JOIN_BYTES_MAX = 64 * 1024
# A larger piece goes out at once, with what was gathered before it: until the turn's end those of
# a hundred connections push each other out of the cache (10 KiB on uring: 6.3 us, at once 5.7), and
# to copy one to what comes later would cost more than another send.
cdef Py_ssize_t GATHERED_BYTES_MAX = 4 * 1024
cdef int LOST_WRITES_LOG_THRESHOLD = 5


cdef class StreamSend(SendOperation):
    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef WritingSide side = self.side
        if side is None:
            return 0  # the connection has let go
        if side.lost:
            return side.finish_if_quiet()
        if side.sent(result):
            return side.pump()
        return 0

    cdef int send_behind(self) except -1:
        if self.side is None or self.side.lost or not self.queued or self.result < 0:
            return 0
        if <size_t>self.result < self.length:
            return 0  # its own rest comes first
        return self.side.send_at_once()


cdef class WritingSide(ReadingSide):
    cdef int run(self, int step, unsigned int flags) except -1:
        if step == STEP_FLUSH:
            self.dirty = False
            return 0 if self.lost else self.pump()
        return ReadingSide.run(self, step, flags)

    def can_write_eof(self):
        return True

    def write(self, data):
        self.take_data(data)

    cdef int take_data(self, object data) except -1:
        """write(), for native callers."""
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"data argument must be a bytes-like object, not {type(data).__name__!r}"
                )
            # The caller may change it as soon as we return.
            data = bytes(data)
        if self.may_write() and data:
            self.append(data)
        return 0

    def writelines(self, list_of_data):
        data = b"".join(list_of_data)
        if self.may_write() and data:
            self.append(data)

    cdef bint may_write(self) except -1:
        """Raise where a write is a mistake; False where it is too late."""
        if self.eof_asked:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if self.lost:
            self.note_lost_write("socket.send() raised exception.")
            return False
        return True

    cdef int note_lost_write(self, str message) except -1:
        if self.lost_writes >= LOST_WRITES_LOG_THRESHOLD:
            logger.warning(message)
        self.lost_writes += 1
        return 0

    cdef int append(self, bytes data) except -1:
        if self.loop._closed:
            raise RuntimeError("Event loop is closed")
        self.gather(data)
        if self.send is not None and self.send.state != STATE_IDLE:
            return self.maybe_pause_protocol()
        if self.buffered > self.high_water or PyBytes_GET_SIZE(data) > GATHERED_BYTES_MAX:
            # Nothing is gained by waiting for more, and the kernel may take all of it.
            self.pump()
            return self.maybe_pause_protocol()
        return self.make_dirty()

    cdef int gather(self, bytes data) except -1:
        """Mostly there is one piece in a turn: it needs no list."""
        if self.chunks is None:
            self.chunks = data
        elif type(self.chunks) is list:
            (<list>self.chunks).append(data)
        else:
            self.chunks = [self.chunks, data]
        self.buffered += PyBytes_GET_SIZE(data)
        return 0

    cdef int send_now(self, bytes data) except -1:
        """For who has gathered already: what was written before goes out with it."""
        self.gather(data)
        if self.send is None or self.send.state == STATE_IDLE:
            self.pump()
        return self.maybe_pause_protocol()

    cdef int make_dirty(self) except -1:
        if self.dirty:
            return 0
        if self.loop._closed:
            raise RuntimeError("Event loop is closed")
        if self.loop._thread_id is None:
            # The loop is not running, and perhaps never will again.
            self.pump()
            self.loop._model.flush()
            return 0
        self.dirty = True
        return ready_push(self.loop.flushes, self, STEP_FLUSH, 0)

    cdef int load(self) except -1:
        """Give the send operation the next bytes; 0 if there are none."""
        if self.send.source is not None:
            return 1
        if self.chunks is None:
            return 0
        self.send.load(self.next_chunk())
        return 1

    cdef bytes next_chunk(self):
        """What goes out in one send."""
        cdef size_t total = 0
        cdef Py_ssize_t count = 0
        cdef list chunks
        cdef bytes data
        if type(self.chunks) is not list:
            data = self.chunks
            self.chunks = None
            return data
        chunks = self.chunks
        for chunk in chunks:
            total += PyBytes_GET_SIZE(chunk)
            if count and total > JOIN_BYTES_MAX:
                break
            count += 1
        data = chunks[0] if count == 1 else b"".join(chunks[:count])
        if count == len(chunks):
            # Not cleared but let go: an idle connection keeps no empty list.
            self.chunks = None
        else:
            del chunks[:count]
        return data

    cdef int put_back(self, bytes data) except -1:
        if self.chunks is None:
            self.chunks = data
        elif type(self.chunks) is list:
            (<list>self.chunks).insert(0, data)
        else:
            self.chunks = [data, self.chunks]
        return 0

    cdef int send_at_once(self) except -1:
        """Send what was written and not begun as far as there is room, and tell nobody yet."""
        cdef bytes data
        cdef ssize_t taken
        while self.chunks is not None:
            data = self.next_chunk()
            self.loop.counts.counters.system_calls[CALL_SEND] += 1
            taken = socket_h.send(
                self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                socket_h.MSG_DONTWAIT | socket_h.MSG_NOSIGNAL,
            )
            taken = max(taken, 0)  # an error comes again, when the loop goes on
            self.buffered -= taken
            if taken < PyBytes_GET_SIZE(data):
                return self.put_back(data[taken:])
        return 0

    cdef StreamSend new_send(self):
        return StreamSend(self.fd)

    cdef int make_send(self) except -1:
        self.send = self.new_send()
        self.send.owned = True
        self.send.side = self
        return 0

    cdef int pump(self) except -1:
        """Send until nothing is left or the kernel has to be waited for."""
        if self.send is None:
            self.make_send()
        while not self.lost and self.send.state == STATE_IDLE:
            if not self.load():
                return self.drained()
            try:
                if self.loop._model.start(self.send) != COMPLETED:
                    return 0
            except OSError as error:
                return self.fatal_error(error, f"Fatal write error on {self.noun()}")
            if not self.sent(self.send.result):
                return 0
        return 0

    cdef int sent(self, int result) except -1:
        """Account for a send; 0 if it failed and the connection is lost."""
        if result < 0:
            self.fatal_error(os_error(-result), f"Fatal write error on {self.noun()}")
            return 0
        self.buffered -= result
        if <size_t>result == self.send.length:
            self.send.source = None
        else:
            self.send.memory += result
            self.send.length -= result
        self.maybe_resume_protocol()
        return 1

    cdef int drained(self) except -1:
        """Everything written has been taken by the kernel."""
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.closing:
            return 0 if self.lost else self.lose(None)
        if self.eof_asked:
            socket_h.shutdown(self.fd, socket_h.SHUT_WR)
        return 0

    def write_eof(self):
        if self.closing or self.eof_asked:
            return
        self.eof_asked = True
        if self.buffered == 0:
            socket_h.shutdown(self.fd, socket_h.SHUT_WR)

    @property
    def _protocol_paused(self):
        return self.protocol_paused

    def get_write_buffer_size(self):
        if self.send is not None and self.send.queued and self.send.result > 0 and not self.lost:
            # The kernel has taken it, and who asks has come up before the completion has.
            return self.buffered - self.send.result
        return self.buffered

    def get_write_buffer_limits(self):
        return self.low_water, self.high_water

    def set_write_buffer_limits(self, high=None, low=None):
        self.set_limits(high, low)

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.empty_waiter = self.loop.create_future()
        if self.buffered == 0:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None

    # Ending.

    def close(self):
        """What was written is still sent; nothing more is read."""
        if self.closing:
            return
        self.closing = True
        if self.receive is not None:
            self.loop._model.stop(self.receive)
        if self.buffered == 0:
            self.lose(None)
        elif self.send is None or self.send.state == STATE_IDLE:
            # As asyncio, which has tried to send in write(): what the kernel takes at once does
            # not put connection_lost() off.
            if self.send is None:
                self.make_send()
            self.send.composed = True
            self.pump()

    cdef int stop_operations(self) except -1:
        ReadingSide.stop_operations(self)
        if self.send is not None:
            self.loop._model.stop(self.send)
        return 0

    cdef bint is_quiet(self) noexcept:
        return ReadingSide.is_quiet(self) and (self.send is None or self.send.is_over())

    cdef int let_go(self) except -1:
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_exception(
                self.error or ConnectionAbortedError("the connection was closed")
            )
        self.chunks = None
        if self.send is not None:
            self.send.side = None
            self.send.source = None
            self.send = None
        return ReadingSide.let_go(self)

    cdef int send_what_can_be(self) except -1:
        if self.dirty and self.send is None:
            self.make_send()
        if self.dirty and self.send.state == STATE_IDLE and self.load():
            self.send.perform(&self.loop.counts.counters)
        return 0

    cdef int drop_output(self) except -1:
        self.chunks = None
        self.buffered = 0
        return 0
