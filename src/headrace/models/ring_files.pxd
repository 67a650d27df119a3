from headrace.core.file_operation cimport FileOperation
from headrace.kernel.uring cimport io_uring, io_uring_sqe


cdef bint ring_takes_file(io_uring *ring, int kind) noexcept
cdef void fill_file(io_uring_sqe *sqe, FileOperation operation) noexcept
