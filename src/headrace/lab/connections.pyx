"""The connections of the load generator, and the loop that serves them without the GIL.

Nothing in this file touches a Python object once it runs; ``load.pyx`` is the face for Python.

The payload of a request is a window onto a ring of random bytes, elsewhere for each request:
a reply that is late, doubled or on the wrong connection is a wrong byte, not luck.  A payload that
must be one line ends with the ring's only newline of its stretch, so it begins at a multiple of its
size.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from headrace.lab cimport network
from headrace.lab.buckets cimport bucket_index
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

# In the order of Trouble.
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


cdef class Connections:
    """The state and the loop; ``Load`` sets it up."""

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
                connection.fd, <const network.sockaddr *>&self.target, self.target_size
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
            self.family,
            self.kind | network.SOCK_NONBLOCK | network.SOCK_CLOEXEC,
            0,
        )
        if fd < 0 or self.family == network.AF_UNIX:
            return fd
        if self.kind == network.SOCK_STREAM:
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
            ) % self.places * self.stride
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
