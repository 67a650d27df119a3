from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport OUTCOME_DONE, InFlight, Operation, Outcome
from headrace.core.ready_queue cimport IN_PLACE, ReadyQueue, Runnable
from headrace.core.statistics cimport KIND_RECEIVE, Statistics

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
    cdef bint has_few_sends          # the last flush had so few that each may have its own call
    cdef size_t received_bytes       # in this turn, by the loop's thread
    cdef readonly ReadyQueue put_off  # what receives only after those who were given that have run

    cdef int put_off_step(self, Runnable step, int result) except -1
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


# What is received in one turn before others have theirs: no more than is still in the cache then.
cdef enum:
    RECEIVED_BYTES_MAX = 256 * 1024


cdef inline bint has_received_enough(Model model) noexcept:
    return model.received_bytes >= RECEIVED_BYTES_MAX


cdef inline bint is_to_put_off(Model model, Operation operation) noexcept:
    """Is the step that would perform *operation* to come up in a later turn?"""
    return has_received_enough(model) and operation.kind == KIND_RECEIVE


cdef inline void note_received(Model model, Operation operation) noexcept:
    if operation.kind == KIND_RECEIVE:
        model.received_bytes += operation.result


cdef inline bint has_more(Model model, Operation operation, Outcome outcome) noexcept:
    """Has a large piece filled its place, so that the rest is received before asking again?"""
    return (
        outcome == OUTCOME_DONE and operation.flags & IN_PLACE
        and not has_received_enough(model)
    )
