"""Has this process been forked?  A counter that every fork(2) raises in the child.

Fact: after fork the child shares the parent's ring and epoll instance; whatever it submits or
deregisters there happens to the parent.  So each model remembers the generation it was opened
in.  getpid() would tell the same but is a system call per loop turn; the C library's own
at-fork hook costs nothing until there is a fork, runs no Python (a subprocess child between
fork and exec must not), and does not run for vfork, whose child only execs.
"""

from headrace.kernel.unistd cimport pthread_atfork

cdef unsigned long generation = 0


cdef void count_fork() noexcept nogil:
    global generation
    generation += 1


cdef unsigned long fork_generation() noexcept nogil:
    """The number of forks between the interpreter's start and this process."""
    return generation


pthread_atfork(NULL, NULL, count_fork)


def fork_generation_now():
    return fork_generation()
