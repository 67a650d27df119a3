"""Non-blocking polling: nobody waits.  Every call is tried again until it stops saying EAGAIN.

Facts.  O_NONBLOCK makes recv(2) answer EAGAIN instead of sleeping; that is all the kernel
offers here.  Finding out which of N descriptors has data therefore takes N calls, each turn,
whether there is data or not, and a program that keeps asking keeps a core busy.

What the obvious does wrong.  Sleeping between rounds saves the core and delays every answer by
half a nap; never sleeping starves the threads of the same process.

Decision.  A round over all descriptors per turn; between fruitless rounds the thread gives way
(sched_yield, with the GIL released), so that others can run, and naps only as long as the next
timer allows if $HEADRACE_NAP_US says so.  Cost: one core, by design.
"""

from libc.stdlib cimport free, realloc

from headrace.core.statistics cimport CALL_NANOSLEEP, CALL_SCHED_YIELD
from headrace.kernel.time cimport nanosleep, sched_yield, timespec, timespec_from_seconds
from headrace.models.reactor cimport Readiness

import os


cdef struct Interest:
    int fd
    int events


cdef class NonblockingReadiness(Readiness):
    name = "nonblocking"
    stevens = "non-blocking"
    waits = "nobody: tried again until it stops saying EAGAIN"
    system_calls = ("recv", "send", "accept4", "recvmmsg", "sendto", "poll", "sched_yield")
    # A report is a guess: the operation itself finds out.
    certain = False
    capabilities = {**Readiness.capabilities, "regular_files": True}

    cdef Interest *interests
    cdef int count
    cdef int capacity
    cdef double nap_s

    def __cinit__(self):
        self.interests = NULL
        self.nap_s = nap_seconds()

    def __dealloc__(self):
        free(self.interests)

    cpdef add(self, int fd, int events):
        cdef Interest *interests
        cdef int capacity
        if self.count == self.capacity:
            capacity = max(64, self.capacity * 2)
            interests = <Interest *>realloc(self.interests, capacity * sizeof(Interest))
            if interests == NULL:
                raise MemoryError()
            self.interests = interests
            self.capacity = capacity
        self.interests[self.count].fd = fd
        self.interests[self.count].events = events
        self.count += 1

    cpdef modify(self, int fd, int events):
        cdef int index
        for index in range(self.count):
            if self.interests[index].fd == fd:
                self.interests[index].events = events
                return

    cpdef remove(self, int fd):
        cdef int index
        for index in range(self.count):
            if self.interests[index].fd == fd:
                self.count -= 1
                self.interests[index] = self.interests[self.count]
                return

    cpdef wait(self, double timeout_s):
        cdef int index
        if timeout_s != 0:
            self.give_way(timeout_s)
        for index in range(self.count):
            self.report(self.interests[index].fd, self.interests[index].events)

    cdef int give_way(self, double timeout_s) except -1:
        """Between two rounds: let others run, or nap where the user asked for it."""
        cdef timespec duration
        cdef double nap_s = self.nap_s
        if 0 < timeout_s < nap_s:
            nap_s = timeout_s
        if nap_s <= 0:
            self.statistics.counters.system_calls[CALL_SCHED_YIELD] += 1
            with nogil:
                sched_yield()
            return 0
        duration = timespec_from_seconds(nap_s)
        self.statistics.counters.system_calls[CALL_NANOSLEEP] += 1
        with nogil:
            nanosleep(&duration, NULL)
        return 0

    cpdef close(self):
        self.count = 0


def nap_seconds():
    """$HEADRACE_NAP_US in seconds; 0, no nap, without it."""
    text = os.environ.get("HEADRACE_NAP_US", "0")
    try:
        nap_us = float(text)
    except ValueError:
        nap_us = -1.0
    if not 0 <= nap_us <= 1e6:
        raise ValueError(f"HEADRACE_NAP_US must be microseconds from 0 to 1000000, not {text!r}")
    return nap_us * 1e-6
