from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.operation cimport ReceiveOperation
from headrace.core.ready_queue cimport ReadyQueue
from headrace.core.statistics cimport Statistics
from headrace.core.timer_heap cimport TimerHeap
from headrace.models.contract cimport Model


cdef class Waker(ReceiveOperation):
    cdef object loop
    cdef object reader
    cdef object writer
    cdef int writer_fd


cdef class LoopCore:
    cdef ReadyQueue ready
    cdef ReadyQueue flushes      # transports with something to write, until the turn's end
    cdef TimerHeap timers
    cdef Statistics counts
    cdef readonly Model _model
    cdef DescriptorTable transports
    cdef set lingering           # connections that are lost, whose descriptor is in use still
    cdef Waker waker
    cdef bint is_waiting
    cdef bint is_woken
    cdef double resolution_s
    cdef public bint _debug
    cdef public bint _closed
    cdef public bint _stopping
    cdef public object _thread_id

    cdef int set_up(self, Model model) except -1
    cdef double now(self) except? -1
    cdef int wake(self) noexcept
    cdef int turn(self) except -1
    cdef int wait_for_completions(self) except -1
    cdef int take_due_timers(self) except -1
    cdef int run_ready(self) except -1
    cdef int run_ready_timed(self, size_t count) except -1
    cdef int flush_transports(self) except -1
    cdef int claim(self, int fd) except -1
