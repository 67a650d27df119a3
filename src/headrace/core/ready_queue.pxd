from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

# What a completion says besides its result.  The buffer's number, where there is one, stands in
# the upper half, as in an io_uring CQE.
cdef enum:
    MORE = 1
    BUFFER = 2
    DIRECT = 4        # the buffer is one of ReceiveOperation.direct
    IN_PLACE = 8      # received where ReceiveOperation.place() has said
    BUFFER_SHIFT = 16


cdef class Runnable:
    cdef int run(self, int result, unsigned int flags) except -1
    cdef void dropped(self, int result, unsigned int flags) noexcept
    cdef bint is_housekeeping(self) noexcept


cdef struct ReadyEntry:
    PyObject *runnable  # OWNS: one reference, released by whoever takes the entry out.
    int result
    unsigned int flags


cdef class ReadyQueue:
    cdef ReadyEntry *entries
    cdef size_t head
    cdef readonly size_t count
    cdef size_t mask
    cdef object for_collector      # None: see core/collector.pxd

    cdef bint holds(self, Runnable runnable) noexcept
    cdef int grow(self) except -1
    cdef void clear(self) noexcept
    cdef void shrink(self) noexcept


cdef inline int ready_push(
    ReadyQueue queue, Runnable runnable, int result, unsigned int flags
) except -1:
    """Append (runnable, result, flags)."""
    cdef ReadyEntry *entry
    if queue.count > queue.mask:
        queue.grow()
    entry = &queue.entries[(queue.head + queue.count) & queue.mask]
    Py_INCREF(runnable)
    entry.runnable = <PyObject *>runnable
    entry.result = result
    entry.flags = flags
    queue.count += 1
    return 0


cdef inline int ready_run_first(ReadyQueue queue) except -1:
    """Take the first entry out and run it.  The queue must not be empty."""
    cdef ReadyEntry entry = queue.entries[queue.head]
    cdef Runnable runnable = <Runnable>entry.runnable
    queue.head = (queue.head + 1) & queue.mask
    queue.count -= 1
    Py_DECREF(runnable)
    return runnable.run(entry.result, entry.flags)
