"""Has this process been forked?  A counter that every fork(2) raises in the child."""

cdef unsigned long fork_generation() noexcept nogil
