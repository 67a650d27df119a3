"""<time.h> and <sched.h>: clocks, naps and giving way."""

cdef extern from "<time.h>" nogil:
    ctypedef long time_t

    struct timespec:
        time_t tv_sec
        long tv_nsec

    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *duration, timespec *remaining)

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        time_t tv_sec
        long tv_usec

cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef inline double monotonic_seconds() noexcept nogil:
    """CLOCK_MONOTONIC in seconds: what time.monotonic() and so loop.time() answer."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef inline timespec timespec_from_seconds(double seconds) noexcept nogil:
    """A wait of *seconds* (not negative), rounded up to the nanosecond: never early."""
    cdef timespec duration
    duration.tv_sec = <time_t>seconds
    duration.tv_nsec = <long>((seconds - duration.tv_sec) * 1e9) + 1
    if duration.tv_nsec >= 1000000000:
        duration.tv_sec += 1
        duration.tv_nsec -= 1000000000
    return duration
