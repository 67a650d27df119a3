"""The real-time signal that models use, and a handler that does nothing.

Fact: real-time signals have no names; a process has thirty of them, and whoever takes one takes
it for the whole process.  So headrace takes the last that nobody has a handler for, when the
first loop needs it, and keeps it; each signal is sent to one thread, so that all loops share it.
The default action of every real-time signal ends the process: the empty handler stands there for
the moments in which a thread that is still sent some does not block it.
"""

from headrace.kernel.errno cimport EBUSY
from headrace.kernel.signal cimport (
    SIGIO, headrace_install_empty_handler, headrace_is_default, headrace_real_time_signal_max,
    headrace_real_time_signal_min,
)

cdef int taken = 0


cdef int real_time_signal() except -1:
    """Its number.  Callers hold the GIL.

    SIGIO, which the kernel sends where a real-time signal's queue is full, gets the empty handler
    too, unless the program has one of its own.
    """
    global taken
    cdef int number
    if taken:
        return taken
    for number in range(headrace_real_time_signal_max(), headrace_real_time_signal_min() - 1, -1):
        if headrace_is_default(number) and headrace_install_empty_handler(number) == 0:
            taken = number
            break
    else:
        raise OSError(
            EBUSY, "every real-time signal has a handler already: none is left for headrace"
        )
    if headrace_is_default(SIGIO):
        headrace_install_empty_handler(SIGIO)
    return taken
