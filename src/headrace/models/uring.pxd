from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport Operation, ReceiveOperation
from headrace.kernel.socket cimport msghdr
from headrace.kernel.uring cimport io_uring, io_uring_sqe
from headrace.models.contract cimport Model
from headrace.models.ring_buffers cimport RingBuffers


cdef class Uring(Model):
    cdef io_uring ring
    cdef readonly bint has_ring
    cdef readonly bint is_enabled
    cdef unsigned long owner_thread
    cdef RingBuffers buffers
    cdef readonly RingBuffers records        # for datagrams; made when first needed
    cdef msghdr record_shape        # how much of a record is for the address
    cdef readonly bint multishot_receive
    cdef bint defer_taskrun
    cdef unsigned int completion_entries
    cdef list again         # operations to hand over once more before the next wait
    cdef unsigned int harvests  # how often completions have been taken
    cdef size_t harvested_bytes  # and how much this time
    cdef list to_direct     # receives of large pieces, which the loop's thread will do
    cdef BufferPool direct_buffers  # into which it does
    cdef list cancel_again  # cancelled elsewhere than in the ring's thread, or missed: tell then
    cdef Py_ssize_t cancelling  # how many the kernel is told to cancel, and has not ended

    cdef bint is_usable(self) noexcept
    cdef int make_ring(self) except -1
    cdef int try_ring(self) except -1
    cdef int set_up(self, int mode) noexcept
    cdef int count_call(self, int call) noexcept
    cdef int enable(self) except -1
    cdef int drop_ring(self) noexcept
    cdef int cancel_elsewhere(self, Operation operation) except -1
    cdef int move_to_new_ring(self, bint forked) except -1
    cdef int drop_everything(self) except -1
    cdef int keep_for_kernel(self, Operation operation) except -1
    cdef bint is_not_to_repeat(self, Operation operation, bint forked) except -1
    cdef int cancel_everything(self) except -1
    cdef int cancel_and_harvest(self) except -1
    cdef bint is_kernel_busy(self) except -1
    cdef io_uring_sqe *next_sqe(self) except NULL
    cdef bint has_records(self) except -1
    cdef int prepare(self, Operation operation) except -1
    cdef int fill(self, io_uring_sqe *sqe, Operation operation) noexcept
    cdef unsigned int lend_piece(
        self, RingBuffers buffers, int result, unsigned int flags
    ) noexcept
    cdef int note_piece(
        self, ReceiveOperation operation, int result, unsigned int flags
    ) except -1
    cdef RingBuffers buffers_of(self, Operation operation)
    cdef int prepare_cancel(self, Operation operation) except -1
    cdef int prepare_again(self) except -1
    cdef int end_multishots(self) except -1
    cdef int forget_direct(self) except -1
    cdef int prepare_or_end(self, Operation operation) except -1
    cdef int enter(self, double timeout_s) except -1
    cdef int harvest(self) except -1
    cdef int cancel_missed(self) except -1
    cdef int take(self, Operation operation, int result, unsigned int flags) except -1
    cdef bint is_to_repeat(self, Operation operation, int result) noexcept
    cdef int repeat(self, Operation operation) except -1
    cdef int left_kernel(self, Operation operation) noexcept
    cdef int finish(self, Operation operation, int result) except -1
