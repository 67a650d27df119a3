"""The load generator: a closed loop over many connections that never sleeps while it measures.

A generator that sleeps poisons what it measures: waking it costs the *server* an inter-processor
interrupt, 10 to 30 us on a virtual machine. So it spins on its own core, epoll_wait with timeout
0, without the GIL. Each busy connection keeps exactly one request outstanding. Each stretch ends
drained, every request answered or given up, so requests, CPU time and system calls of a stretch
belong together exactly.

The payload of a request is a window onto a ring of random bytes, elsewhere for each request:
a reply that is late, doubled or on the wrong connection is a wrong byte, not luck.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from headrace.lab cimport network
from headrace.lab.buckets cimport BUCKETS, bucket_index, bucket_value
from headrace.lab.http_reply cimport (
    BODY_TO_END,
    REPLY_DONE,
    REPLY_MALFORMED,
    Reply,
    reply_begun,
    reply_feed,
    reply_start,
)
from headrace.lab.network cimport clock_ns, sockaddr_in

import os
import socket

from headrace.lab.limits import raise_descriptor_limit
from headrace.lab.window import Window

cdef enum:
    EVENTS_MAX = 512
    RECEIVE_BYTES = 262144
    RING_BYTES = 65536
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

ERROR_KINDS = (
    "wrong_bytes",
    "extra_bytes",
    "short_reply",
    "closed",
    "reset",
    "no_reply",
    "connect_failed",
    "idle_closed",
    "http_status",
    "http_malformed",
)

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


class LoadError(Exception):
    """The load could not be set up: nobody listens, or the connections were not accepted."""


@final
cdef class Load:
    cdef Connection *connections
    cdef int total
    cdef int idle
    cdef int epoll_fd
    cdef network.epoll_event events[EVENTS_MAX]
    cdef sockaddr_in target
    cdef object ring
    cdef object upper_ring
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

    def __cinit__(
        self,
        address,
        *,
        int busy,
        int idle=0,
        size_t size=1024,
        http_request=None,
        double reply_timeout_s=5.0,
        double connect_timeout_s=60.0,
        bint spin=True,
    ):
        self.epoll_fd = -1
        if busy < 1 or idle < 0 or size < 1:
            raise ValueError(f"busy={busy} idle={idle} size={size}: at least 1, 0 and 1")
        raise_descriptor_limit(busy + idle)
        self.total = busy + idle
        self.idle = idle
        self.spin = spin
        self.reply_timeout_ns = <int64_t>(reply_timeout_s * 1e9)
        self.connect_timeout_ns = <int64_t>(connect_timeout_s * 1e9)
        self.set_target(address)
        self.set_request(size, http_request)
        self.connections = <Connection *>calloc(self.total, sizeof(Connection))
        self.buckets = <uint64_t *>calloc(BUCKETS, sizeof(uint64_t))
        self.received = <char *>calloc(1, RECEIVE_BYTES)
        if self.connections == NULL or self.buckets == NULL or self.received == NULL:
            raise MemoryError
        for index in range(self.total):
            self.connections[index].fd = -1
            self.connections[index].idle = index < idle
        self.epoll_fd = network.epoll_create1(network.EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise OSError(network.errno, os.strerror(network.errno))

    def __dealloc__(self):
        self.close_all()
        free(self.connections)
        free(self.buckets)
        free(self.received)

    def __repr__(self):
        return (
            f"<Load busy={self.total - self.idle} idle={self.idle}"
            f" connected={self.established} outstanding={self.outstanding}>"
        )

    cdef int set_target(self, address) except -1:
        host, port = address
        raw = int.from_bytes(socket.inet_aton(host), "big")
        if raw >> 24 != 127:
            raise ValueError(f"{host} is not a loopback address (127.x.x.x)")
        memset(&self.target, 0, sizeof(self.target))
        self.target.sin_family = network.AF_INET
        self.target.sin_port = network.htons(port)
        self.target.sin_addr.s_addr = network.htonl(raw)
        return 0

    cdef int set_request(self, size_t size, http_request) except -1:
        self.http = http_request is not None
        self.ring = bytes(http_request) if self.http else os.urandom(RING_BYTES + size)
        self.upper_ring = self.ring.upper()
        self.request = self.ring
        self.expected = self.upper_ring
        self.request_size = len(self.ring) if self.http else size
        return 0

    def connect(self):
        deadline_ns = clock_ns(network.CLOCK_MONOTONIC) + self.connect_timeout_ns
        cdef int opened = 0
        self.draining = True
        while opened < self.total or self.outstanding > 0:
            with nogil:
                while opened < self.total and self.outstanding < IN_FLIGHT_MAX:
                    if self.connections[opened].state == CLOSED:
                        self.begin_connect(&self.connections[opened], 0)
                    opened += 1
                self.look(10)
            PyErr_CheckSignals()
            if self.troubles[<int>CONNECT_FAILED] > 0:
                raise LoadError(
                    f"cannot connect to {self.target_name()} after {self.established:,} of"
                    f" {self.total:,} connections: {os.strerror(self.connect_errno)}"
                )
            if clock_ns(network.CLOCK_MONOTONIC) > deadline_ns:
                raise LoadError(
                    f"{self.target_name()} accepted only {self.established:,} of"
                    f" {self.total:,} connections in {<double>self.connect_timeout_ns / 1e9:g} s"
                )

    def target_name(self):
        host = socket.inet_ntoa((<uint32_t>network.htonl(
            self.target.sin_addr.s_addr)).to_bytes(4, "big"))
        return f"{host}:{network.htons(self.target.sin_port)}"

    def run(self, double seconds):
        cdef int64_t start_ns = clock_ns(network.CLOCK_MONOTONIC)
        cdef int64_t cpu_ns = clock_ns(network.CLOCK_THREAD_CPUTIME_ID)
        cdef int64_t end_ns = start_ns + <int64_t>(seconds * 1e9)
        cdef int64_t now_ns = start_ns
        cdef bint alive = True
        self.draining = False
        self.forget_errors_of_rest()
        self.ask_everybody(start_ns)
        while now_ns < end_ns and alive:
            with nogil:
                self.load_until(min(end_ns, now_ns + LOOK_UP_NS))
                now_ns = clock_ns(network.CLOCK_MONOTONIC)
                alive = self.outstanding > 0
            PyErr_CheckSignals()
        self.draining = True
        end_ns = now_ns + self.reply_timeout_ns
        while self.outstanding > 0 and now_ns < end_ns:
            with nogil:
                self.load_until(min(end_ns, now_ns + LOOK_UP_NS))
                now_ns = clock_ns(network.CLOCK_MONOTONIC)
            PyErr_CheckSignals()
        self.give_up_outstanding()
        now_ns = clock_ns(network.CLOCK_MONOTONIC)
        cpu_ns = clock_ns(network.CLOCK_THREAD_CPUTIME_ID) - cpu_ns
        return self.take_window(now_ns - start_ns, cpu_ns)

    def close(self):
        self.close_all()

    @property
    def connected(self):
        return self.established

    cdef void close_all(self) noexcept:
        cdef int index
        if self.connections != NULL:
            for index in range(self.total):
                self.drop(&self.connections[index])
        if self.epoll_fd >= 0:
            network.close(self.epoll_fd)
            self.epoll_fd = -1

    cdef void forget_errors_of_rest(self) noexcept:
        """A server may close a kept-alive HTTP connection between two stretches; RFC 9112 9.5."""
        cdef int index
        cdef Connection *connection
        if not self.http:
            return
        self.look(0)
        for index in range(self.idle, self.total):
            connection = &self.connections[index]
            if connection.state == CLOSED and connection.failures == 0:
                self.reconnects += 1

    cdef void ask_everybody(self, int64_t now_ns) noexcept:
        cdef int index
        cdef Connection *connection
        for index in range(self.idle, self.total):
            connection = &self.connections[index]
            if connection.state == GIVEN_UP or connection.state == CLOSED:
                connection.failures = 0
                self.begin_connect(connection, now_ns)
            elif connection.state == RESTING:
                connection.asked_ns = clock_ns(network.CLOCK_MONOTONIC)
                self.outstanding += 1
                self.ask(connection)

    cdef void give_up_outstanding(self) noexcept:
        cdef int index
        cdef Connection *connection
        for index in range(self.total):
            connection = &self.connections[index]
            if connection.state == ASKED or connection.state == CONNECTING:
                self.troubles[<int>NO_REPLY] += 1
                self.outstanding -= 1
                self.drop(connection)

    cdef object take_window(self, int64_t wall_ns, int64_t cpu_ns):
        """The figures since the last call; the next stretch starts from zero."""
        cdef int i
        errors = {
            kind: self.troubles[i] for i, kind in enumerate(ERROR_KINDS) if self.troubles[i]
        }
        latency = tuple(
            (bucket_value(i), self.buckets[i]) for i in range(BUCKETS) if self.buckets[i]
        )
        window = Window(
            seconds=wall_ns / 1e9,
            requests=self.requests,
            errors=errors,
            latency_ns=latency,
            bad_status=self.bad_status,
            reconnects=self.reconnects,
            busy_share=<double>self.busy_ns / wall_ns,
            cpu_share=min(1.0, <double>cpu_ns / wall_ns),
            stall_ms_max=<double>self.stall_ns_max / 1e6,
            self_latency_share=<double>self.self_ns_sum / max(1, self.latency_ns_sum),
        )
        self.requests = self.reconnects = 0
        self.busy_ns = self.stall_ns_max = self.latency_ns_sum = self.self_ns_sum = 0
        self.bad_status = 0
        memset(self.troubles, 0, sizeof(self.troubles))
        memset(self.buckets, 0, BUCKETS * sizeof(uint64_t))
        return window

    # The loop. Nothing below touches a Python object or the GIL.

    cdef void load_until(self, int64_t until_ns) noexcept nogil:
        cdef int64_t before_ns = clock_ns(network.CLOCK_MONOTONIC)
        cdef int64_t after_ns
        cdef int handled
        while before_ns < until_ns and self.outstanding > 0:
            handled = self.look(0 if self.spin else 10)
            after_ns = clock_ns(network.CLOCK_MONOTONIC)
            if handled > 0:
                self.busy_ns += after_ns - before_ns
                if after_ns - before_ns > self.stall_ns_max:
                    self.stall_ns_max = after_ns - before_ns
            before_ns = after_ns

    cdef int look(self, int timeout_ms) noexcept nogil:
        cdef int count = network.epoll_wait(self.epoll_fd, self.events, EVENTS_MAX, timeout_ms)
        cdef int64_t seen_ns
        cdef int index
        if count <= 0:
            return 0
        seen_ns = clock_ns(network.CLOCK_MONOTONIC)
        for index in range(count):
            self.handle(
                &self.connections[self.events[index].data.u64], self.events[index].events, seen_ns
            )
        return count

    cdef void handle(self, Connection *connection, uint32_t events, int64_t seen_ns) noexcept nogil:
        if connection.state == CONNECTING:
            self.finish_connect(connection)
            return
        if events & ~<uint32_t>network.EPOLLOUT:
            self.receive(connection, seen_ns)
        if events & network.EPOLLOUT and connection.state == ASKED:
            self.push(connection)

    cdef void watch(self, Connection *connection, int operation, uint32_t events) noexcept nogil:
        cdef network.epoll_event event
        event.events = events
        event.data.u64 = <uint64_t>(connection - self.connections)
        network.epoll_ctl(self.epoll_fd, operation, connection.fd, &event)

    cdef void begin_connect(self, Connection *connection, int64_t now_ns) noexcept nogil:
        cdef int result = -1
        connection.asked_ns = now_ns
        connection.fresh = True
        self.outstanding += 1
        while result < 0 and self.source < SOURCES_MAX:
            connection.fd = self.open_socket(connection)
            if connection.fd < 0:
                break
            result = network.connect(
                connection.fd, <const network.sockaddr *>&self.target, sizeof(self.target)
            )
            if result == 0 or network.errno == network.EINPROGRESS:
                connection.state = CONNECTING
                self.watch(connection, network.EPOLL_CTL_ADD, network.EPOLLOUT)
                return
            if network.errno != network.EADDRNOTAVAIL:
                break
            network.close(connection.fd)
            connection.fd = -1
            self.source += 1  # this source address has no port left
        self.fail_connect(connection, network.errno)

    cdef int open_socket(self, Connection *connection) noexcept nogil:
        cdef sockaddr_in source
        cdef int yes = 1
        cdef int number = <int>(connection - self.connections) // SOURCE_PORTS_MAX + self.source
        cdef int fd = network.socket(
            network.AF_INET,
            network.SOCK_STREAM | network.SOCK_NONBLOCK | network.SOCK_CLOEXEC,
            0,
        )
        if fd < 0:
            return fd
        network.setsockopt(fd, network.IPPROTO_TCP, network.TCP_NODELAY, &yes, sizeof(yes))
        if number > 0:
            memset(&source, 0, sizeof(source))
            source.sin_family = network.AF_INET
            source.sin_addr.s_addr = network.htonl(<uint32_t>(network.INADDR_LOOPBACK + number))
            network.setsockopt(
                fd, network.IPPROTO_IP, network.IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes)
            )
            network.bind(fd, <const network.sockaddr *>&source, sizeof(source))
        return fd

    cdef void finish_connect(self, Connection *connection) noexcept nogil:
        cdef int error = 0
        cdef network.socklen_t size = sizeof(error)
        network.getsockopt(
            connection.fd, network.SOL_SOCKET, network.SO_ERROR, &error, &size
        )
        if error != 0:
            self.fail_connect(connection, error)
            return
        self.established += 1
        connection.state = RESTING
        connection.wants_write = False
        self.watch(
            connection, network.EPOLL_CTL_MOD, network.EPOLLIN | network.EPOLLRDHUP
        )
        if self.draining or connection.idle:
            self.outstanding -= 1
        else:
            self.ask(connection)

    cdef void fail_connect(self, Connection *connection, int error) noexcept nogil:
        self.connect_errno = error
        self.outstanding -= 1
        self.fail(connection, CONNECT_FAILED)

    cdef void ask(self, Connection *connection) noexcept nogil:
        """Starts a request; it already counts as outstanding."""
        connection.state = ASKED
        connection.sent = connection.received = 0
        connection.sequence += 1
        if self.http:
            connection.offset = 0
            reply_start(&connection.reply)
        else:
            connection.offset = (
                <size_t>(connection - self.connections) * 40503 + <size_t>connection.sequence * 9973
            ) % RING_BYTES
        self.push(connection)

    cdef void push(self, Connection *connection) noexcept nogil:
        cdef ssize_t done
        while connection.sent < self.request_size:
            done = network.send(
                connection.fd,
                self.request + connection.offset + connection.sent,
                self.request_size - connection.sent,
                network.MSG_NOSIGNAL,
            )
            if done < 0:
                if network.errno != network.EAGAIN:
                    self.lose(connection)
                    return
                break
            connection.sent += done
        self.watch_write(connection, connection.sent < self.request_size)

    cdef void watch_write(self, Connection *connection, bint wanted) noexcept nogil:
        if connection.wants_write == wanted:
            return
        connection.wants_write = wanted
        self.watch(
            connection,
            network.EPOLL_CTL_MOD,
            network.EPOLLIN | network.EPOLLRDHUP | (network.EPOLLOUT if wanted else 0),
        )

    cdef void receive(self, Connection *connection, int64_t seen_ns) noexcept nogil:
        cdef ssize_t size = network.recv(connection.fd, self.received, RECEIVE_BYTES, 0)
        if size < 0 and (network.errno == network.EAGAIN or network.errno == network.EINTR):
            return
        if connection.state != ASKED:
            self.receive_unasked(connection, size)
        elif size < 0:
            self.lose(connection)
        elif self.http:
            self.receive_http(connection, size, seen_ns)
        elif size == 0:
            self.stop(connection, CLOSED_EARLY if connection.received == 0 else SHORT_REPLY)
        else:
            self.receive_echo(connection, <size_t>size, seen_ns)

    cdef void receive_unasked(self, Connection *connection, ssize_t size) noexcept nogil:
        if connection.idle:
            self.fail(connection, EXTRA_BYTES if size > 0 else IDLE_CLOSED)
        elif size > 0:
            self.fail(connection, EXTRA_BYTES)
        elif self.http and size == 0:
            self.drop(connection)  # keep-alive ended between two requests: no error
        else:
            self.fail(connection, CLOSED_EARLY if size == 0 else RESET)

    cdef void receive_echo(
        self, Connection *connection, size_t size, int64_t seen_ns
    ) noexcept nogil:
        cdef size_t left = self.request_size - connection.received
        cdef size_t wanted = size if size < left else left
        cdef const char *expected = self.expected + connection.offset + connection.received
        if connection.received + size > connection.sent:
            self.stop(connection, EXTRA_BYTES)
        elif memcmp(self.received, expected, wanted) != 0:
            self.stop(connection, WRONG_BYTES)
        else:
            connection.received += size
            if connection.received == self.request_size:
                self.answered(connection, seen_ns)

    cdef void receive_http(
        self, Connection *connection, ssize_t size, int64_t seen_ns
    ) noexcept nogil:
        cdef Reply *reply = &connection.reply
        cdef size_t taken
        if size == 0:
            if reply.state == BODY_TO_END:
                reply.state = REPLY_DONE
            else:
                self.stop(connection, SHORT_REPLY if reply_begun(reply) else CLOSED_EARLY)
                return
        taken = reply_feed(reply, self.received, <size_t>size)
        if reply.state == REPLY_MALFORMED:
            self.stop(connection, HTTP_MALFORMED)
        elif reply.state == REPLY_DONE:
            if taken < <size_t>size:
                self.stop(connection, EXTRA_BYTES)
            elif not 200 <= reply.status < 300:
                self.answered_badly(connection)
            else:
                self.answered(connection, seen_ns)

    cdef void answered(self, Connection *connection, int64_t seen_ns) noexcept nogil:
        cdef int64_t now_ns = clock_ns(network.CLOCK_MONOTONIC)
        self.requests += 1
        self.buckets[bucket_index(now_ns - connection.asked_ns)] += 1
        self.latency_ns_sum += now_ns - connection.asked_ns
        self.self_ns_sum += now_ns - seen_ns
        connection.failures = 0
        self.go_on(connection, now_ns)

    cdef void answered_badly(self, Connection *connection) noexcept nogil:
        self.troubles[<int>HTTP_STATUS] += 1
        if self.bad_status == 0:
            self.bad_status = connection.reply.status
        self.go_on(connection, clock_ns(network.CLOCK_MONOTONIC))

    cdef void go_on(self, Connection *connection, int64_t now_ns) noexcept nogil:
        """The next request, on a new connection where the server ended this one."""
        connection.asked_ns = now_ns
        connection.fresh = False
        if self.http and not connection.reply.keep_alive:
            self.outstanding -= 1
            self.drop(connection)
            if not self.draining:
                self.reconnects += 1
                self.begin_connect(connection, now_ns)
        elif self.draining:
            self.outstanding -= 1
            connection.state = RESTING
        else:
            self.ask(connection)

    cdef void lose(self, Connection *connection) noexcept nogil:
        cdef int error = network.errno
        if error == network.ECONNRESET or error == network.EPIPE:
            self.stop(connection, RESET)
        else:
            self.stop(connection, CLOSED_EARLY)

    cdef void stop(self, Connection *connection, Trouble trouble) noexcept nogil:
        """Ends an outstanding request with an error."""
        self.outstanding -= 1
        self.fail(connection, trouble)

    cdef void fail(self, Connection *connection, Trouble trouble) noexcept nogil:
        self.troubles[<int>trouble] += 1
        self.drop(connection)
        connection.failures += 1
        if connection.idle or connection.failures >= FAILURES_MAX:
            connection.state = GIVEN_UP
        elif not self.draining:
            self.reconnects += 1
            self.begin_connect(connection, clock_ns(network.CLOCK_MONOTONIC))

    cdef void drop(self, Connection *connection) noexcept nogil:
        if connection.fd >= 0:
            network.close(connection.fd)
            connection.fd = -1
            if connection.state == RESTING or connection.state == ASKED:
                self.established -= 1
        connection.state = CLOSED
