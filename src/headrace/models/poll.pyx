"""poll(2): select without the limit, at the same price.

Facts.  The caller keeps an array of (descriptor, wanted, answered); the kernel walks all of it
at each call and writes every answer.  No limit but the open-file one; the cost grows with how
many descriptors are watched, ready or not.  Errors and hang-ups are reported unasked.

Decision.  The array is kept between calls and changed in place; a descriptor's place in it
stands in a table, and the last entry fills the gap that a removed one leaves, so that a change
costs the same however many are watched.
"""

from headrace.kernel.errno cimport EINTR, errno
from libc.stdlib cimport free, realloc

from headrace.core.operation cimport READABLE, WRITABLE
from headrace.core.statistics cimport CALL_PPOLL
from headrace.kernel.errors cimport raise_os_error
from headrace.kernel.poll cimport POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, pollfd, ppoll
from headrace.kernel.time cimport timespec, timespec_from_seconds
from headrace.models.reactor cimport HANGUP, Readiness


cdef class PollReadiness(Readiness):
    name = "poll"
    capabilities = {**Readiness.capabilities, "regular_files": True}
    waits = "poll()"
    system_calls = ("ppoll", "recv", "send", "accept4", "recvmmsg", "sendto")

    cdef pollfd *entries
    cdef int count
    cdef int capacity
    cdef int *places  # by descriptor
    cdef int places_size

    def __cinit__(self):
        self.entries = NULL
        self.places = NULL

    def __dealloc__(self):
        free(self.entries)
        free(self.places)

    cpdef add(self, int fd, int events):
        self.make_room(fd)
        self.places[fd] = self.count
        self.entries[self.count].fd = fd
        self.count += 1
        self.modify(fd, events)

    cpdef modify(self, int fd, int events):
        self.entries[self.places[fd]].events = <short>(
            (POLLIN if events & READABLE else 0) | (POLLOUT if events & WRITABLE else 0)
        )

    cpdef remove(self, int fd):
        cdef int place = self.places[fd]
        self.count -= 1
        self.entries[place] = self.entries[self.count]
        self.places[self.entries[place].fd] = place

    cpdef wait(self, double timeout_s):
        cdef timespec timeout
        cdef timespec *limit = NULL
        cdef int count
        self.statistics.counters.system_calls[CALL_PPOLL] += 1
        if timeout_s == 0:
            timeout.tv_sec = 0
            timeout.tv_nsec = 0
            count = ppoll(self.entries, self.count, &timeout, NULL)
        else:
            if timeout_s > 0:
                timeout = timespec_from_seconds(timeout_s)
                limit = &timeout
            with nogil:
                count = ppoll(self.entries, self.count, limit, NULL)
        if count < 0:
            if errno != EINTR:
                raise_os_error(errno, "poll")
            return
        self.report_all(count)

    cdef int report_all(self, int count) except -1:
        cdef int index, revents
        for index in range(self.count):
            if count == 0:
                break
            revents = self.entries[index].revents
            if revents:
                count -= 1
                self.report(
                    self.entries[index].fd,
                    (READABLE if revents & POLLIN else 0)
                    | (WRITABLE if revents & POLLOUT else 0)
                    | (HANGUP if revents & (POLLERR | POLLHUP | POLLNVAL) else 0),
                )
        return 0

    cdef int make_room(self, int fd) except -1:
        cdef void *grown
        if self.count == self.capacity:
            grown = realloc(self.entries, max(64, self.capacity * 2) * sizeof(pollfd))
            if grown == NULL:
                raise MemoryError()
            self.entries = <pollfd *>grown
            self.capacity = max(64, self.capacity * 2)
        if fd >= self.places_size:
            grown = realloc(self.places, max(fd + 1, self.places_size * 2) * sizeof(int))
            if grown == NULL:
                raise MemoryError()
            self.places = <int *>grown
            self.places_size = max(fd + 1, self.places_size * 2)
        return 0

    cpdef close(self):
        self.count = 0
