from headrace.loop.byte_sink cimport ByteSink
from headrace.loop.engine cimport LoopCore
from headrace.loop.stream_writing cimport WritingSide
from headrace.loop.tls_engine cimport TlsEngine

cdef enum TlsState:
    TLS_UNWRAPPED      # before connection_made(), and after the end
    TLS_HANDSHAKE
    TLS_WRAPPED
    TLS_FLUSHING       # ending: what was written is still sent, what has come is delivered
    TLS_SHUTDOWN       # close_notify is out, the peer's is awaited

# What the program's protocol has been told.
cdef enum Told:
    TOLD_NOTHING
    TOLD_MADE
    TOLD_EOF
    TOLD_LOST


cdef class TlsProtocol(ByteSink):
    cdef object __weakref__
    cdef dict __dict__
    cdef LoopCore loop
    cdef TlsEngine engine
    cdef TlsState state
    cdef Told told
    cdef object protocol           # the program's
    cdef object wire               # the transport below; None before and after
    cdef WritingSide stream        # the same, if it is a stream of ours
    cdef object waiter
    cdef dict extra
    cdef object timer              # of the handshake, then of the shutdown
    cdef object handshake_timeout_s
    cdef object shutdown_timeout_s
    cdef double handshake_begun_s
    cdef bint closed               # close() was called, or the end has come
    cdef bint eof_seen             # the wire has ended
    cdef bint wire_paused          # the wire takes no more for now
    cdef bint reading_paused       # by the program
    cdef bint flushed_ends         # when all is written the shutdown begins
    cdef int lost_writes

    cdef int advance(self) except -1
    cdef int send_output(self) except -1
    cdef int start_handshake(self) except -1
    cdef int handshake(self) except -1
    cdef int handshake_done(self) except -1
    cdef int handshake_failed(self, object error) except -1
    cdef int send_alert(self) except -1
    cdef int wake_waiter(self, object error) except -1
    cdef int cancel_timer(self) except -1
    cdef int start_shutdown(self) except -1
    cdef int flush(self) except -1
    cdef int flushed(self) except -1
    cdef int shut_down(self) except -1
    cdef int shutdown_done(self, object error) except -1
    cdef int tell_eof(self) except -1
    cdef int end(self, object error) except -1
    cdef int fatal_error(self, object error, str message) except -1
    cdef int read_plaintext(self) except -1
    cdef int pump(self) except -1
    cdef int drop_plaintext(self) except -1
