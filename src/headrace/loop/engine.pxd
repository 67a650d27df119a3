from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.operation cimport ReceiveOperation
from headrace.core.ready_queue cimport ReadyQueue
from headrace.core.statistics cimport Statistics
from headrace.loop.scheduling cimport Scheduling
from headrace.models.contract cimport Model


cdef class Waker(ReceiveOperation):
    cdef object loop
    cdef object reader
    cdef object writer
    cdef int writer_fd


cdef class LoopCore(Scheduling):
    cdef ReadyQueue flushes      # transports with something to write, until the turn's end
    cdef Statistics counts
    cdef readonly Model _model
    cdef DescriptorTable transports
    cdef set lingering           # connections that are lost, whose descriptor is in use still
    cdef Waker waker
    cdef bint is_waiting
    cdef bint is_woken
    cdef bint polls_always       # in each turn, whatever is ready
    cdef int quiet_polls         # how many brought nothing, one after the other
    cdef double polled_s         # when the last of them was
    cdef double resolution_s
    cdef double spin_s           # how long to ask without sleeping before a wait sleeps

    cdef int set_up(self, Model model) except -1
    cdef unsigned long turn_number(self) noexcept
    cdef int turn(self) except -1
    cdef int poll(self) except -1
    cdef bint is_poll_due(self) except -1
    cdef int wait_for_completions(self) except -1
    cdef double time_left(self) except? -2
    cdef bint spin(self, double timeout_s) except -1
    cdef int take_due_timers(self) except -1
    cdef int run_put_off(self) except -1
    cdef int run_ready(self) except -1
    cdef int run_first_timed(self, ReadyQueue queue) except -1
    cdef int flush_transports(self) except -1
    cdef int claim(self, int fd) except -1
