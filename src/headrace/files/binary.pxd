from headrace.files.descriptor cimport Descriptor, Transfer, Turns


cdef class BinaryFile:
    cdef readonly Descriptor descriptor
    cdef readonly str mode
    cdef readonly Py_ssize_t buffer_size  # 0: unbuffered
    cdef readonly bint closed
    cdef bint is_readable
    cdef bint is_writable
    cdef bint is_appending
    cdef Turns turns
    cdef long long position               # where the next byte is read or written
    cdef bytearray ahead                  # what was read, and not asked for yet
    cdef Py_ssize_t ahead_start           # where in it the next byte stands
    cdef bint ahead_is_stale              # it is to be dropped when the next turn begins
    cdef Py_ssize_t ahead_next            # how much to read ahead the next time
    cdef bytearray behind                 # what was written, and is not with the kernel yet

    cdef int check_readable(self) except -1
    cdef int check_writable(self) except -1
    cdef int check_seekable(self) except -1
    cdef bint can_read_at_once(self, Py_ssize_t wanted) noexcept
    cdef bint can_take_ahead(self) noexcept
    cdef int begin_reading(self) except -1
    cdef int drop_stale(self) except -1
    cdef Py_ssize_t ahead_count(self) noexcept
    cdef Transfer transfer_behind_ahead(self, Py_ssize_t there, Py_ssize_t size)
    cdef bytes take_ahead(self, Py_ssize_t size)
    cdef Py_ssize_t line_length(self, Py_ssize_t start, Py_ssize_t limit) noexcept
    cdef int add_ahead(self, bytes data) except -1
    cdef int drop_ahead(self) except -1
    cdef int written(self, Py_ssize_t size) except -1
    cdef long long raw_offset(self) noexcept
