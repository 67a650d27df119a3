"""select(2): the oldest multiplexer, and the one with a hard limit.

Facts.  The sets are bit maps of FD_SETSIZE (1024) bits, fixed when the C library was built; the
kernel overwrites them with its answer, so they are copied in and out and filled anew at each
call.  The cost grows with the largest descriptor, not with how many are ready.

What the obvious does wrong.  FD_SET on a larger descriptor writes past the set.  Here the
reactor refuses such a descriptor with a clear error before it comes near.

Decision.  Two master sets are kept up to date and copied for each call; the answer is scanned
up to the largest descriptor, and no further than the count that select returned.
"""

from headrace.kernel.errno cimport EBADF, EINTR, errno
from libc.string cimport memcpy

from headrace.core.operation cimport READABLE, WRITABLE
from headrace.core.statistics cimport CALL_PSELECT
from headrace.kernel.errors cimport raise_os_error
from headrace.kernel.select cimport (
    FD_CLR, FD_ISSET, FD_SET, FD_SETSIZE, FD_ZERO, fd_set, pselect,
)
from headrace.kernel.time cimport timespec, timespec_from_seconds
from headrace.kernel.unistd cimport F_GETFD, fcntl
from headrace.models.reactor cimport HANGUP, Readiness


cdef class SelectReadiness(Readiness):
    name = "select"
    capabilities = {
        **Readiness.capabilities, "regular_files": True, "descriptor_max": FD_SETSIZE - 1,
    }
    waits = "select()"
    system_calls = ("pselect", "recv", "send", "accept4", "recvmmsg", "sendto")

    cdef fd_set readable
    cdef fd_set writable
    cdef int descriptor_highest

    def __cinit__(self):
        FD_ZERO(&self.readable)
        FD_ZERO(&self.writable)
        self.descriptor_highest = -1

    cpdef add(self, int fd, int events):
        self.modify(fd, events)

    cpdef modify(self, int fd, int events):
        if events & READABLE:
            FD_SET(fd, &self.readable)
        else:
            FD_CLR(fd, &self.readable)
        if events & WRITABLE:
            FD_SET(fd, &self.writable)
        else:
            FD_CLR(fd, &self.writable)
        self.descriptor_highest = max(self.descriptor_highest, fd)

    cpdef remove(self, int fd):
        FD_CLR(fd, &self.readable)
        FD_CLR(fd, &self.writable)
        while self.descriptor_highest >= 0 and not (
            FD_ISSET(self.descriptor_highest, &self.readable)
            or FD_ISSET(self.descriptor_highest, &self.writable)
        ):
            self.descriptor_highest -= 1

    cpdef wait(self, double timeout_s):
        cdef fd_set readable, writable
        cdef timespec timeout
        cdef timespec *limit = NULL
        cdef int count
        memcpy(&readable, &self.readable, sizeof(fd_set))
        memcpy(&writable, &self.writable, sizeof(fd_set))
        self.statistics.counters.system_calls[CALL_PSELECT] += 1
        if timeout_s == 0:
            timeout.tv_sec = 0
            timeout.tv_nsec = 0
            count = pselect(
                self.descriptor_highest + 1, &readable, &writable, NULL, &timeout, NULL
            )
        else:
            if timeout_s > 0:
                timeout = timespec_from_seconds(timeout_s)
                limit = &timeout
            with nogil:
                count = pselect(
                    self.descriptor_highest + 1, &readable, &writable, NULL, limit, NULL
                )
        if count < 0:
            if errno == EBADF:
                self.report_closed()
            elif errno != EINTR:
                raise_os_error(errno, "select")
            return
        self.report_set(&readable, &writable, count)

    cdef int report_closed(self) except -1:
        """select says that a descriptor is closed, not which: find it, or nobody is served.

        It stays in the sets until the reactor removes it: by then it may be open again.
        """
        cdef int fd
        for fd in range(self.descriptor_highest + 1):
            if FD_ISSET(fd, &self.readable) or FD_ISSET(fd, &self.writable):
                if fcntl(fd, F_GETFD) < 0:
                    self.report(fd, HANGUP)
        return 0

    cdef int report_set(self, fd_set *readable, fd_set *writable, int count) except -1:
        cdef int fd, events
        for fd in range(self.descriptor_highest + 1):
            if count <= 0:
                break
            events = 0
            if FD_ISSET(fd, readable):
                events |= READABLE
                count -= 1
            if FD_ISSET(fd, writable):
                events |= WRITABLE
                count -= 1
            if events:
                self.report(fd, events)
        return 0

    cpdef close(self):
        FD_ZERO(&self.readable)
        FD_ZERO(&self.writable)
        self.descriptor_highest = -1
