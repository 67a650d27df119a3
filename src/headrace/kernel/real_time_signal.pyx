"""The real-time signals that models use, and a handler that does nothing.

Fact: real-time signals have no names; a process has thirty of them, and whoever takes one takes
it for the whole process.  So headrace takes the last that nobody has a handler for, when the
first loop needs it, and keeps it: one for `signal` and for interrupting threads, which is always
sent to one thread, so that all loops share it; another for `aio`, which is sent to the process.
The default action of every real-time signal ends the process: the empty handler stands there for
the moments in which a thread that is still sent some does not block it.
"""

from headrace.kernel.errno cimport EBUSY
from headrace.kernel.signal cimport (
    SIGIO, headrace_install_empty_handler, headrace_is_default, headrace_real_time_signal_max,
    headrace_real_time_signal_min,
)

cdef int taken = 0
cdef dict reserved = {}


def signals_reserved():
    return dict(reserved)


cdef int real_time_signal() except -1:
    """Its number.  Callers hold the GIL.

    SIGIO, which the kernel sends where a real-time signal's queue is full, gets the empty handler
    too, unless the program has one of its own: asked each time, for it may have taken that away.
    """
    global taken
    if not taken:
        taken = reserve_signal("the models signal, blocking and aio")
    if headrace_is_default(SIGIO):
        headrace_install_empty_handler(SIGIO)
    return taken


cdef int reserve_signal(str purpose) except -1:
    """The number of one more, with the empty handler; *purpose* says who needs it."""
    cdef int number
    for number in range(headrace_real_time_signal_max(), headrace_real_time_signal_min() - 1, -1):
        if headrace_is_default(number) and headrace_install_empty_handler(number) == 0:
            reserved[number] = purpose
            return number
    raise OSError(
        EBUSY, "every real-time signal has a handler already: none is left for headrace"
    )
