cdef class Transfer:
    cdef object holder            # OWNS: keeps the memory below alive
    cdef char *memory
    cdef readonly Py_ssize_t length
    cdef readonly Py_ssize_t done

    cdef bytes data(self)


cdef Transfer transfer_to_bytes(Py_ssize_t size)
cdef Transfer transfer_to_rest(bytes memory, Py_ssize_t done)
cdef Transfer transfer_into(object target)
cdef Transfer transfer_from(object source)


cdef class Turns:
    cdef readonly bint taken
    cdef object waiting           # futures of those who wait, or None

    cpdef int leave(self) except -1


cdef class Descriptor:
    cdef readonly int fd          # OWNS, if closes: -1 once it is closed
    cdef readonly object name
    cdef readonly bint closes
    cdef readonly bint seekable
    cdef readonly bint is_written
    cdef readonly bint closing
    cdef bint waits               # for a peer, as pipes, sockets and terminals do
    cdef public bint nowait_read  # the kernel tells whether a read would wait; False: not asked
    cdef public bint nowait_write
    cdef int users                # transfers that have not ended
    cdef object loop              # in which they wait, until there are none
    cdef object idle              # a future: told when users is 0
    cdef set waiting              # futures of those who wait until it is ready

    cdef Py_ssize_t read_at_once(self, bytes memory, long long offset) noexcept
    cdef Py_ssize_t try_read(self, char *memory, size_t length, long long offset) noexcept
    cdef Py_ssize_t try_write(self, const char *memory, size_t length, long long offset) noexcept
    cdef Py_ssize_t attempt_length(self, Transfer transfer, long long offset) noexcept
    cdef int leave(self) except -1
