"""epoll(7), level-triggered: the kernel keeps the set, and answers only with what is ready.

Facts.  A descriptor is registered once (epoll_ctl, a red-black tree in the kernel); a wait
costs what is ready, however many are watched.  No memory is shared with the kernel: events are
copied out (a common myth says mmap).  Regular files are refused with EPERM.  close(2) of the
last reference deregisters; a descriptor that was closed behind our back and reused is found out
by ENOENT and EEXIST, which are answered with the other verb.

Level-triggered: a descriptor is reported at every wait while it is ready.
"""

from headrace.kernel.errno cimport EBADF, EEXIST, EINTR, ENOENT, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

from headrace.core.operation cimport READABLE, WRITABLE
from headrace.core.statistics cimport CALL_EPOLL_CREATE1, CALL_EPOLL_CTL, CALL_EPOLL_WAIT
from headrace.kernel.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLIN,
    EPOLLOUT, EPOLLPRI, EPOLLRDHUP, epoll_create1, epoll_ctl, epoll_event, epoll_wait,
)
from headrace.kernel.errors cimport raise_os_error
from headrace.kernel cimport unistd
from headrace.models.reactor cimport ENDING, HANGUP, Readiness


cdef class EpollReadiness(Readiness):
    name = "epoll"
    waits = "epoll_wait()"
    system_calls = ("epoll_wait", "epoll_ctl", "recv", "send", "accept4", "recvmmsg", "sendto")

    def __cinit__(self):
        self.epoll_fd = -1
        self.trigger = 0
        self.events = <epoll_event *>malloc(EVENT_COUNT_MAX * sizeof(epoll_event))
        if self.events == NULL:
            raise MemoryError()

    def __dealloc__(self):
        if self.epoll_fd >= 0:
            unistd.close(self.epoll_fd)
        free(self.events)

    cpdef open(self):
        self.statistics.counters.system_calls[CALL_EPOLL_CREATE1] += 1
        self.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll_fd < 0:
            raise_os_error(errno, "epoll_create1")

    cpdef add(self, int fd, int events):
        if self.control(EPOLL_CTL_ADD, fd, events) == EEXIST:
            self.control(EPOLL_CTL_MOD, fd, events)

    cpdef modify(self, int fd, int events):
        if self.control(EPOLL_CTL_MOD, fd, events) == ENOENT:
            self.control(EPOLL_CTL_ADD, fd, events)

    cpdef remove(self, int fd):
        self.control(EPOLL_CTL_DEL, fd, 0)

    cdef int control(self, int operation, int fd, int events) except -1:
        """epoll_ctl(2); answers the errno where it says the set was not as we thought."""
        cdef epoll_event event
        event.events = (
            (EPOLLIN if events & READABLE else 0)
            | (EPOLLOUT if events & WRITABLE else 0)
            | self.trigger
        )
        event.data.fd = fd
        self.statistics.counters.system_calls[CALL_EPOLL_CTL] += 1
        if epoll_ctl(self.epoll_fd, operation, fd, &event) == 0:
            return 0
        if errno == EEXIST or errno == ENOENT:
            return errno
        if operation == EPOLL_CTL_DEL and errno == EBADF:
            return EBADF
        raise_os_error(errno, f"epoll cannot watch descriptor {fd}")

    cpdef wait(self, double timeout_s):
        self.report_all(self.wait_for_events(timeout_s))

    cdef int wait_for_events(self, double timeout_s) except -1:
        cdef int count
        cdef int timeout_ms = 0
        self.statistics.counters.system_calls[CALL_EPOLL_WAIT] += 1
        if timeout_s == 0:
            count = epoll_wait(self.epoll_fd, self.events, EVENT_COUNT_MAX, 0)
        else:
            # Rounded up: a timer must not find itself early and wait again.
            timeout_ms = -1 if timeout_s < 0 else <int>(timeout_s * 1e3 + 0.999)
            with nogil:
                count = epoll_wait(self.epoll_fd, self.events, EVENT_COUNT_MAX, timeout_ms)
        if count < 0:
            if errno != EINTR:
                raise_os_error(errno, "epoll_wait")
            return 0
        return count

    cdef int report_all(self, int count) except -1:
        cdef int index
        cdef uint32_t events
        for index in range(count):
            events = self.events[index].events
            self.report(
                self.events[index].data.fd,
                (READABLE if events & EPOLLIN else 0)
                | (WRITABLE if events & EPOLLOUT else 0)
                | (HANGUP if events & (EPOLLERR | EPOLLHUP) else 0)
                | (ENDING if events & (EPOLLRDHUP | EPOLLPRI) else 0),
            )
        return 0

    cpdef close(self):
        if self.epoll_fd >= 0:
            unistd.close(self.epoll_fd)
            self.epoll_fd = -1
