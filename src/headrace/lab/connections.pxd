"""The connections of the load generator: what each is at, and the counts of all."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from headrace.lab.http_reply cimport Reply
from headrace.lab.network cimport epoll_event, sockaddr_storage, socklen_t

cdef enum:
    EVENTS_MAX = 512
    RECEIVE_BYTES = 262144
    RING_BYTES = 65536
    RING_LINES_MIN = 8  # different lines at least, however long they are
    IN_FLIGHT_MAX = 64  # connects at once: below the accept queue of 100 that asyncio defaults to
    FAILURES_MAX = 3  # in a row, then the connection rests until the next stretch
    SOURCE_PORTS_MAX = 16384  # connections of one source address, then the next 127.0.0.x
    SOURCES_MAX = 250
    TROUBLES = 10  # members of Trouble
    LOOK_UP_NS = 50_000_000  # how often to look at signals and deadlines

cdef enum State:
    CLOSED
    CONNECTING
    RESTING
    ASKED
    GIVEN_UP

cdef enum Trouble:
    WRONG_BYTES
    EXTRA_BYTES
    SHORT_REPLY
    CLOSED_EARLY
    RESET
    NO_REPLY
    CONNECT_FAILED
    IDLE_CLOSED
    HTTP_STATUS
    HTTP_MALFORMED

cdef struct Connection:
    int fd
    State state
    bint idle
    bint wants_write
    bint fresh  # nothing has been answered since the connect
    int failures
    uint32_t sequence
    size_t offset
    size_t sent
    size_t received
    int64_t asked_ns
    Reply reply


cdef class Connections:
    cdef Connection *connections
    cdef int total
    cdef int idle
    cdef int epoll_fd
    cdef epoll_event events[EVENTS_MAX]
    cdef sockaddr_storage target
    cdef socklen_t target_size
    cdef int family
    cdef int kind  # SOCK_STREAM or SOCK_DGRAM
    cdef object ring
    cdef object expected_ring
    cdef size_t places  # where in the ring a payload may begin: at the multiples of stride
    cdef size_t stride
    cdef const char *request
    cdef const char *expected
    cdef size_t request_size
    cdef bint http
    cdef bint spin
    cdef char *received
    cdef int outstanding
    cdef int established
    cdef int source
    cdef bint draining
    cdef uint64_t *buckets
    cdef uint64_t troubles[TROUBLES]
    cdef uint64_t requests
    cdef uint64_t reconnects
    cdef int bad_status
    cdef int connect_errno
    cdef int64_t busy_ns
    cdef int64_t stall_ns_max
    cdef int64_t latency_ns_sum
    cdef int64_t self_ns_sum
    cdef int64_t reply_timeout_ns
    cdef int64_t connect_timeout_ns

    cdef void load_until(self, int64_t until_ns) noexcept nogil
    cdef int look(self, int timeout_ms) noexcept nogil
    cdef void handle(self, Connection *connection, uint32_t events, int64_t seen_ns) noexcept nogil
    cdef void watch(self, Connection *connection, int operation, uint32_t events) noexcept nogil
    cdef void begin_connect(self, Connection *connection, int64_t now_ns) noexcept nogil
    cdef int open_socket(self, Connection *connection) noexcept nogil
    cdef void finish_connect(self, Connection *connection) noexcept nogil
    cdef void fail_connect(self, Connection *connection, int error) noexcept nogil
    cdef void ask(self, Connection *connection) noexcept nogil
    cdef void push(self, Connection *connection) noexcept nogil
    cdef void watch_write(self, Connection *connection, bint wanted) noexcept nogil
    cdef void receive(self, Connection *connection, int64_t seen_ns) noexcept nogil
    cdef void receive_unasked(self, Connection *connection, ssize_t size) noexcept nogil
    cdef void receive_echo(
        self, Connection *connection, size_t size, int64_t seen_ns
    ) noexcept nogil
    cdef void receive_http(
        self, Connection *connection, ssize_t size, int64_t seen_ns
    ) noexcept nogil
    cdef void answered(self, Connection *connection, int64_t seen_ns) noexcept nogil
    cdef void answered_badly(self, Connection *connection) noexcept nogil
    cdef void go_on(self, Connection *connection, int64_t now_ns) noexcept nogil
    cdef void lose(self, Connection *connection) noexcept nogil
    cdef void stop(self, Connection *connection, Trouble trouble) noexcept nogil
    cdef void fail(self, Connection *connection, Trouble trouble) noexcept nogil
    cdef void drop(self, Connection *connection) noexcept nogil
