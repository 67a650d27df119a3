from headrace.core.operation cimport Operation
from headrace.models.aio_requests cimport Inbox, Request
from headrace.models.blocking cimport Blocking


cdef class Aio(Blocking):
    cdef Inbox *inbox
    cdef bint is_usable        # False in a forked child: glibc's threads are the parent's
    cdef bint was_blocked      # the thread blocked the signal before it ran the loop
    cdef int request_count
    cdef int request_limit     # as many threads as glibc has got for us
    cdef dict reads            # fd -> address of the Request that reads it
    cdef dict writes           # operation -> address
    cdef dict doubles          # fd -> duplicate, which is read and shut down
    cdef list reads_again      # operations to read for again, after their callback
    cdef list starving         # addresses of Requests for whose bytes there is no buffer
    cdef double looked_at_s

    cdef int has_new_inbox(self) except -1
    cdef int leave_requests_to_parent(self) except -1
    cdef bint is_for_aio(self, Operation operation) noexcept
    cdef int begin_one(self, Operation operation) except -1
    cdef int begin_read(self, Operation operation) except -1
    cdef int begin_write(self, Operation operation) except -1
    cdef bint has_double(self, int fd) except -1
    cdef int adopt(self, Operation operation) except -1
    cdef int end_all(self) except -1
    cdef int by_worker(self, Operation operation) except -1
    cdef int take_all_done(self) except -1
    cdef int take_request(self, Request *request) except -1
    cdef void count_calls(self, Request *request) noexcept
    cdef int take_read(self, Request *request, Operation operation, int result) except -1
    cdef int look_at_all(self) except -1
    cdef int hand_to_worker(self, Request *request) except -1
    cdef int end_read_of(self, int fd) except -1
    cdef int leave_old_file(self, int fd) except -1
    cdef int read_again(self) except -1
    cdef int feed_starving(self) except -1
