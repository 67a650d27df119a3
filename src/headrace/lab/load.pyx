"""The load generator: a closed loop over many connections that never sleeps while it measures.

A generator that sleeps poisons what it measures: waking it costs the *server* an inter-processor
interrupt, 10 to 30 us on a virtual machine. So it spins on its own core, epoll_wait with timeout
0, without the GIL. Each busy connection keeps exactly one request outstanding. Each stretch ends
drained, every request answered or given up, so requests, CPU time and system calls of a stretch
belong together exactly.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from headrace.lab cimport network
from headrace.lab.buckets cimport BUCKETS, bucket_value
from headrace.lab.connections cimport (
    ASKED,
    CLOSED,
    CONNECT_FAILED,
    CONNECTING,
    EVENTS_MAX,
    GIVEN_UP,
    IN_FLIGHT_MAX,
    LOOK_UP_NS,
    NO_REPLY,
    RECEIVE_BYTES,
    RESTING,
    RING_BYTES,
    RING_LINES_MIN,
    Connection,
    Connections,
)
from headrace.lab.network cimport clock_ns

import os
import socket

from headrace.lab.connections import ERROR_KINDS
from headrace.lab.limits import raise_descriptor_limit
from headrace.lab.window import Window


class LoadError(Exception):
    """The load could not be set up: nobody listens, or the connections were not accepted."""


@final
cdef class Load(Connections):
    def __cinit__(
        self,
        address,
        *,
        int busy,
        int idle=0,
        size_t size=1024,
        http_request=None,
        bint echo=False,
        bint lines=False,
        bint datagrams=False,
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
        self.set_target(address, datagrams)
        if http_request is None:
            self.set_payload(size, echo, lines)
        else:
            self.set_http_request(http_request)
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

    cdef int set_target(self, address, bint datagrams) except -1:
        cdef network.sockaddr_un *path = <network.sockaddr_un *>&self.target
        memset(&self.target, 0, sizeof(self.target))
        self.kind = network.SOCK_DGRAM if datagrams else network.SOCK_STREAM
        if not isinstance(address, str):
            host, port = address
            return self.set_internet_target(host, port)
        name = os.fsencode(address)
        if <size_t>len(name) >= sizeof(path.sun_path):
            raise ValueError(f"{address!r} is too long for the address of a Unix socket")
        self.family = path.sun_family = network.AF_UNIX
        memcpy(path.sun_path, <const char *>name, len(name))
        self.target_size = sizeof(network.sockaddr_un)
        return 0

    cdef int set_internet_target(self, host, port) except -1:
        cdef network.sockaddr_in *target = <network.sockaddr_in *>&self.target
        raw = int.from_bytes(socket.inet_aton(host), "big")
        if raw >> 24 != 127:
            raise ValueError(f"{host} is not a loopback address (127.x.x.x)")
        self.family = target.sin_family = network.AF_INET
        target.sin_port = network.htons(port)
        target.sin_addr.s_addr = network.htonl(raw)
        self.target_size = sizeof(network.sockaddr_in)
        return 0

    cdef int set_payload(self, size_t size, bint echo, bint lines) except -1:
        self.stride = size if lines else 1
        self.places = max(<size_t>RING_LINES_MIN, RING_BYTES // size) if lines else RING_BYTES
        if lines:
            filling = os.urandom(self.places * size).replace(b"\n", b"\t")
            self.ring = b"".join(
                filling[start : start + size - 1] + b"\n"
                for start in range(0, self.places * size, size)
            )
        else:
            self.ring = os.urandom(RING_BYTES + size)
        self.expected_ring = self.ring if echo else self.ring.upper()
        self.request = self.ring
        self.expected = self.expected_ring
        self.request_size = size
        return 0

    cdef int set_http_request(self, http_request) except -1:
        self.http = True
        self.ring = bytes(http_request)
        self.request = self.ring
        self.request_size = len(self.ring)
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
        cdef network.sockaddr_in *target = <network.sockaddr_in *>&self.target
        if self.family == network.AF_UNIX:
            return os.fsdecode((<network.sockaddr_un *>&self.target).sun_path)
        host = socket.inet_ntoa((<uint32_t>network.htonl(
            target.sin_addr.s_addr)).to_bytes(4, "big"))
        return f"{host}:{network.htons(target.sin_port)}"

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
        while self.look(0) == EVENTS_MAX:
            pass
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
