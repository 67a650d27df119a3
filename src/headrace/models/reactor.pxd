from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.flag cimport flag
from headrace.core.operation cimport Operation
from headrace.core.ready_queue cimport ReadyQueue, Runnable
from headrace.core.statistics cimport Statistics
from headrace.models.contract cimport Model

# What a readiness model reports besides READABLE and WRITABLE.  HANGUP: both directions are
# over or the descriptor is in error; both sides are tried.  ENDING: the peer will send no more,
# so that a short read is not the end.  AGAIN is the reactor's own: it tries without a report.
cdef enum:
    HANGUP = 4
    ENDING = 8
    AGAIN = 16


cdef class Readiness:
    cdef ReadyQueue ready
    cdef DescriptorTable table
    cdef readonly Statistics statistics

    cdef int report(self, int fd, int events) except -1
    cdef int report_refused(self, int fd, int error) except -1
    cpdef open(self)
    cpdef bind(self)
    cpdef unbind(self)
    cpdef add(self, int fd, int events)
    cpdef modify(self, int fd, int events)
    cpdef remove(self, int fd)
    cpdef expect_writable(self, int fd)
    cpdef wait(self, double timeout_s)
    cpdef close(self)


cdef class Registration(Runnable):
    cdef Reactor reactor  # BORROWS in spirit: cleared when the reactor closes
    cdef int fd
    cdef unsigned char watched      # what the readiness model has been told
    cdef unsigned char maybe_ready  # sides that have said ready and not yet "nothing more"
    cdef flag hangup
    cdef flag doubtful    # a short read may hide the end: see reactor.pyx
    cdef flag kept        # its owner calls forget(): keep it while no operation waits
    cdef flag queued
    cdef Operation reader
    cdef Operation writer
    cdef Operation poller

    cdef void insert(self, Operation operation) noexcept
    cdef bint take_out(self, Operation operation) noexcept
    cdef int wanted(self) noexcept
    cdef bint merge(self, int events) noexcept
    cdef void remember(self, int events) noexcept
    cdef void drained(self, int side) noexcept
    cdef int settle(self) except -1
    cdef int fail_all(self, int error) except -1
    cdef int tell_pollers(self, int events, bint certain) except -1
    cdef int attempt(self, int side) except -1


cdef class Reactor(Model):
    cdef readonly Readiness readiness
    cdef DescriptorTable registrations
    cdef bint edge_triggered
    cdef bint certain
    cdef bint tells_end
    cdef int descriptor_max

    cdef int renew(self) except -1
    cdef Registration registration_of(self, int fd)
    cdef int renew_if_orphaned(self, Registration registration) except -1
    cdef int watch(self, Registration registration) except -1
    cdef int unwatch(self, Registration registration) except -1
    cdef int stop_watching(self, Registration registration) except -1
    cdef int drop_if_idle(self, Registration registration) except -1
