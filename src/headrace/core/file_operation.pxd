from headrace.core.operation cimport Operation, Outcome
from headrace.core.statistics cimport Counters
from headrace.kernel.file cimport statx_result


cdef class FileOperation(Operation):
    cdef bytes path                 # OWNS: the call's first path
    cdef bytes other_path           # OWNS: and its second, or a symbolic link's target
    cdef const char *path_chars     # BORROWS: of those two
    cdef const char *other_chars
    cdef readonly object holder     # OWNS: keeps the memory below alive
    cdef char *memory
    cdef readonly long long offset  # -1: the descriptor's own position
    cdef long long other_offset
    cdef int other_fd
    cdef int call_flags
    cdef unsigned int mode
    cdef statx_result *status       # OWNS: freed with the operation
    cdef readonly object owner      # whose descriptor it is: must not be closed before the end
    cdef public object waiter       # a future: told when the operation has ended
    cdef readonly bint has_ended      # result says how it has ended
    cdef bint has_begun             # a thread is in the call, or has been
    cdef bint is_revoked            # no thread may begin it any more
    cdef object loop                # where the thread's end wakes `waiter`, if that is waited for

    cdef int call(self) noexcept nogil
    cdef Outcome perform(self, Counters *counters) noexcept
    cdef void ended(self, int result) noexcept
    cdef int take_result(self) noexcept
    cdef int wake(self) except -1


cdef FileOperation file_read(int fd, object holder, char *memory, size_t length, long long offset)
cdef FileOperation file_write(
    int fd, object holder, const char *memory, size_t length, long long offset
)
