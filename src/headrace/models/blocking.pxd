from headrace.core.operation cimport Operation
from headrace.models.contract cimport Model
from headrace.models.workers cimport Job, Notice, Shared


cdef class Blocking(Model):
    cdef Shared *shared            # BORROWS: the pool's
    cdef dict jobs                 # operation -> address of its Job
    cdef dict lanes                # (fd, side) -> operations in their order; the first has a job
    cdef Job *first_waiting        # jobs for which there is no thread yet
    cdef Job *last_waiting
    cdef int waiting_count
    cdef int thread_limit
    cdef double rotated_at_s
    cdef double refused_at_s       # when the kernel had no more threads for us
    cdef list interrupted          # operations whose thread has not answered yet
    cdef list again                # multishot operations that are to be submitted after their turn
    cdef set lent                  # descriptors that keep theirs
    cdef set made_blocking         # descriptors whose O_NONBLOCK was taken away

    cdef int make_threads(self) except -1
    cdef int leave_jobs_to_parent(self) except -1
    cdef int start_job(self, Operation operation) except -1
    cdef int describe(self, Operation operation, Job *job) except -1
    cdef int find_thread(self, Job *job) except -1
    cdef int serve_waiting(self) except -1
    cdef int rotate(self) except -1
    cdef void append_waiting(self, Job *job) noexcept
    cdef void remove_waiting(self, Job *job) noexcept
    cdef int interrupt_again(self) except -1
    cdef bint is_any_calling(self) except -1
    cdef int let_go(self) except -1
    cdef int let_go_of_orphan(self, Operation first) except -1
    cdef int wait_for_sends(self) except -1
    cdef list sends(self)
    cdef int submit_again(self) except -1
    cdef int take_all(self) except -1
    cdef int take(self, Notice *notice) except -1
    cdef int job_ended(self, Operation operation, Job *job, int result) except -1
    cdef int leave_lane(self, Operation operation) except -1
    cdef int make_blocking(self, int fd) except -1
    cdef int make_nonblocking(self, int fd) except -1
    cdef int cancel_everything(self) except -1
    cdef int forget_job(self, Operation operation, Job *job) except -1
    cdef int cancelled(self, Operation operation) except -1
    cdef bint has_started_one(self) except -1
    cdef bint has_started(self, Job *job) except -1
    cdef int end(self, Operation operation, int result) except -1
    cdef void count_futex(self) noexcept
    cdef double wait_limit(self, double timeout_s) noexcept
