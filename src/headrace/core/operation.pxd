from cpython.object cimport PyObject
from headrace.core.buffer_pool cimport BufferPool
from headrace.core.flag cimport flag
from headrace.core.ready_queue cimport Runnable
from headrace.core.statistics cimport Counters
from headrace.kernel.socket cimport sockaddr_storage, socklen_t

# What perform() answers.  The third is what edge triggering needs: done, and the descriptor is
# known to have nothing more, so that the next attempt may wait for the next edge.
cdef enum Outcome:
    OUTCOME_NOT_DONE = 0
    OUTCOME_DONE = 1
    OUTCOME_DONE_AND_EXHAUSTED = 2

cdef enum:
    READABLE = 1
    WRITABLE = 2

cdef enum State:
    STATE_IDLE = 0
    STATE_IN_FLIGHT = 1
    STATE_CANCELLING = 2


cdef class Operation(Runnable):
    cdef readonly int fd
    cdef readonly unsigned char kind
    cdef readonly unsigned char events  # READABLE or WRITABLE (POLL: either or both)
    cdef readonly unsigned char state
    cdef readonly flag multishot    # completes again and again until cancelled or failed
    cdef readonly flag eager        # worth an attempt before waiting
    cdef readonly flag composed     # must not take data unless it delivers: wait, then perform
    cdef public flag owned          # its owner calls Model.forget() before closing the fd
    cdef readonly flag queued       # its terminal completion is in the ready queue
    cdef public int result          # >= 0, or a negative errno; set by perform()
    cdef public unsigned int flags  # of that result: MORE, BUFFER
    cdef InFlight in_flight
    cdef PyObject *previous         # BORROWS: neighbours in the in-flight list
    cdef PyObject *following
    cdef Operation behind           # the next one waiting on the same descriptor
    cdef size_t length              # bytes to move, where the kind has a limit
    cdef public object on_complete
    cdef public object sock         # the caller's socket object, where the descriptor is not ours

    cdef Outcome perform(self, Counters *counters) noexcept
    cdef Outcome perform_now(self, Counters *counters) noexcept
    cdef Outcome transferred(self, ssize_t size, size_t wanted) noexcept
    cdef int run(self, int result, unsigned int flags) except -1
    cdef int completed(self, int result, unsigned int flags) except -1
    cdef void retire(self) noexcept
    cdef bint goes_on(self) noexcept
    cdef bint is_orphaned(self) noexcept
    cdef bint is_over(self) noexcept


cdef class InFlight:
    cdef PyObject *first            # OWNS: one reference to each operation in the list
    cdef readonly Py_ssize_t count
    cdef object for_collector      # None: see core/collector.pxd

    cdef void add(self, Operation operation) noexcept
    cdef void discard(self, Operation operation) noexcept


cdef class AcceptOperation(Operation):
    cdef sockaddr_storage address   # the peer's, after a single accept
    cdef socklen_t address_length


cdef class ReceiveOperation(Operation):
    cdef BufferPool pool
    cdef BufferPool direct          # where its model lets the loop's thread receive, else None
    cdef unsigned char small_pieces  # there, in a row
    cdef unsigned int full_harvest  # when a piece has filled its buffer last
    cdef flag asks_direct           # the model is to receive it directly, from the next wait on
    cdef flag was_large             # the last piece

    cdef char *place(self, size_t *room) noexcept
    cdef void leave_place(self) noexcept
    cdef int received_in_place(self, int size) except -1
    cdef int received(self, const char *data, int result) except -1


cdef class ReceiveIntoOperation(Operation):
    cdef object target              # OWNS: keeps the memory below alive
    cdef char *memory


cdef class ReceiveBytesOperation(Operation):
    cdef BufferPool scratch
    cdef readonly bytes data

    cdef void set_up(self, int fd, BufferPool scratch, size_t length) noexcept
    cdef void take(self, const char *memory, Py_ssize_t size) noexcept


cdef class SendOperation(Operation):
    cdef object source              # OWNS: keeps the memory below alive
    cdef const char *memory

    cdef void set_up(self, int fd, bint composed) noexcept
    cdef void load(self, bytes data) noexcept
    cdef int send_behind(self) except -1


cdef class ConnectOperation(Operation):
    cdef sockaddr_storage address
    cdef int address_length
    cdef bint started

    cdef Outcome finish(self, Counters *counters) noexcept


cdef class PollOperation(Operation):
    cdef void set_up(self, int fd, int events) noexcept


cdef class SendfileOperation(Operation):
    cdef int file_fd
    cdef long offset
