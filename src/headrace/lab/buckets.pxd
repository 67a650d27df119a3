"""Latency buckets with the resolution of an HDR histogram: three significant digits, ns to 60 s.

Recording must cost a few nanoseconds, so the counting is native; the buckets are HdrHistogram's
own (2,048 linear steps, doubled in width each time the value doubles), so exporting
(value, count) pairs to the ``hdrhistogram`` package loses nothing.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    int leading_zeros "__builtin_clzll"(unsigned long long value) nogil

cdef enum:
    HALF_BITS = 10
    HALF = 1 << HALF_BITS
    STEPS = 2 * HALF
    BUCKETS = 27 * HALF

cdef inline size_t bucket_index(int64_t latency_ns) noexcept nogil:
    """The bucket of a latency; latencies out of range go to the first or the last bucket."""
    cdef uint64_t value = 1 if latency_ns < 1 else <uint64_t>latency_ns
    cdef int doubling = 64 - leading_zeros(value | (STEPS - 1)) - (HALF_BITS + 1)
    cdef size_t index = (<size_t>(doubling + 1) << HALF_BITS) + <size_t>(value >> doubling) - HALF
    return index if index < BUCKETS else BUCKETS - 1


cdef inline uint64_t bucket_value(size_t index) noexcept nogil:
    """The smallest latency that falls into the bucket."""
    cdef int doubling = <int>(index >> HALF_BITS) - 1
    if doubling < 0:
        return index
    return <uint64_t>((index & (HALF - 1)) + HALF) << doubling
