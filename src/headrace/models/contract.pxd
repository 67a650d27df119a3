from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport InFlight, Operation
from headrace.core.ready_queue cimport ReadyQueue
from headrace.core.statistics cimport Statistics

# What submit() and cancel() answer.
cdef enum:
    PENDING = 0
    COMPLETED = 1
    CANCELLED = 1


cdef class Model:
    cdef readonly ReadyQueue ready
    cdef readonly Statistics statistics
    cdef readonly InFlight in_flight
    cdef readonly BufferPool pool
    cdef unsigned long generation
    cdef public bint is_open         # set by open() and close()
    cdef bint is_fresh               # something was started or stopped since the loop asked last
    cdef bint has_few_sends          # the turn has so few that each may have a call of its own

    cdef int start(self, Operation operation) except -1
    cdef int stop(self, Operation operation) except -1
    cdef int refuse_in_child(self) except -1
    cpdef int perform_soon(self, Operation operation) except -1

    cpdef open(self)
    cpdef bind(self)
    cpdef unbind(self)
    cpdef int submit(self, Operation operation) except -1
    cpdef int cancel(self, Operation operation) except -1
    cpdef wait(self, double timeout_s)
    cpdef flush(self)
    cpdef lend(self, int fd)
    cpdef forget(self, int fd)
    cpdef bint takes_file(self, int kind) except -1
    cpdef close(self)
