"""io_uring: the kernel waits and the kernel copies.

Facts.  Submissions and completions are two rings in memory shared with the kernel; one
io_uring_enter(2) hands over everything queued and waits for what is done, so that a turn of the
loop costs one system call however many connections it serves.  A multishot receive stays armed
and takes a buffer from a provided ring for each piece of data; a multishot accept likewise.

What the obvious does wrong, and what is done here:

* Closing a descriptor does not cancel what is in flight on it, and memory handed over is free
  only at the terminal completion.  So cancel() always answers PENDING, and an operation is held
  by the in-flight list until its last completion.
* A completion without F_MORE ends a multishot, also when nobody asked: no buffer was left
  (ENOBUFS), the completion ring overflowed, the submitting thread has exited (ECANCELED).  Such
  an operation is handed over again before the next wait, when all buffers are back.
* DEFER_TASKRUN is the fastest mode and binds the ring to one thread: any other gets EEXIST.
  asyncio's loops are made in one thread and run in another.  So the ring is made R_DISABLED
  with the loop (a failure shows then, when there is still a choice), enabled by the thread that
  runs the loop first, and made anew when another thread takes over, with everything in flight
  handed over again.  That loses nothing: without MSG_WAITALL a request that has not completed has
  taken and sent nothing, and with DEFER_TASKRUN none completes but in its thread's enter.
  Without it, everything is cancelled and its answers taken before the old ring goes.
* A receive that is cancelled may have taken data already.  The transport keeps that data; a
  caller of sock_recv() could not.  Operations whose data would be lost are `composed`: the
  kernel waits (POLL_ADD), then the loop thread performs.
* A request is not found by its cancellation (ENOENT) while the kernel carries it from one place to
  another: a send that waits for room and is woken by the peer's FIN, tried again, and handed to a
  worker thread.  It waits on as if nobody had cancelled it.  So what is being cancelled and has not
  ended is cancelled again when a cancellation says ENOENT; usually that one was too late, and
  there is nothing to do.
* A datagram larger than its buffer would lose its end.  So datagrams have a ring of buffers of
  their own, with room for UDP's largest; Unix datagrams, which may be larger still, are `composed`,
  and so is a receive that the kernel refuses (EINVAL: before Linux 6.0) or has no memory for.
* IORING_OP_SENDMSG cuts datagrams.  A socket may take bytes from the caller's memory before it
  says EAGAIN; the kernel then waits, and sends what it has not taken yet: to a Unix socket whose
  queue is full, an empty datagram (seen on Linux 6.18).  So sending datagrams is `composed`.
* What the kernel receives in one turn for many connections is more than the processor's cache
  holds, when the pieces are large, and what they answer is sent when all have answered.  For small
  pieces that is nothing against the system calls that are saved; a message of 10 KiB cost 6.9 us
  instead of 5.7, one of 100 KiB 38 instead of 18, whatever the buffers.  So a connection with a
  piece of 6 KiB or more in a turn that brings more than 256 KiB goes `direct`: the ring polls, the
  loop's thread receives, into one hot buffer of 256 KiB or where the owner has a place for it;
  after 16 small pieces in a row the kernel receives again.  And what is longer than 8 KiB is sent
  directly.
* A send that is submitted goes out with the next enter, and completes there: that enter comes back
  at once, and another has to wait.  With one or two to send in a turn that is as many calls as a
  send(2) for each, but dearer ones and a turn more: 750 instructions of ours for each request.
  So few are sent at once.
* POLL_ADD multishot speaks on the edge, add_reader() must be level-triggered: so one shot, and
  handed over again after the callback has run.
* An operation on a file is done by a worker thread of the kernel if it has to wait, and what has
  begun is not called back.  Its cancellation is a question; the terminal completion says what has
  happened.  Nor may it be done twice: in a forked child, or when another thread takes the loop over
  meanwhile, it ends with ECANCELED, although the old ring may still do it.  Where that completion
  cannot be waited for (a disk that does not answer, a ring of another thread), the operation is
  never freed, because its memory may still be written to.
* After fork the child must not touch the ring; see Model.generation.  In the child the ring is
  only unmapped and closed; operations are handed over to a new one, except sends, which the
  parent's ring will perform: they end with ECANCELED.
* Unless the process has CAP_IPC_LOCK, kernels count a ring (here 88 KiB) against RLIMIT_MEMLOCK,
  for all processes of the user together: 93 rings with the usual 8 MiB, and then ENOMEM.  A ring is
  taken apart after close(2) has returned: 30 to 60 ms later, measured, it counts no more.  So
  ENOMEM soon after a ring went is asked about again, for a bounded time; then it is an error, and
  a loop for which nobody named the model takes another (models/registry.py).

With callbacks ready the loop does not want to wait; then the kernel is entered only if there is
something to hand over or IORING_SQ_TASKRUN says that it has completions to give.
"""

from cpython.object cimport PyObject

from headrace.kernel.errno cimport (
    EAGAIN, EBUSY, ECANCELED, ECONNABORTED, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM,
    ENOSYS, EPROTO, ETIME,
)
from libc.stdint cimport uint64_t
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.datagram_operation cimport (
    RECORD_ADDRESS_BYTES, RECORD_BYTES_MAX, ReceiveDatagramsOperation,
)
from headrace.core.file_operation cimport FileOperation
from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, READABLE, STATE_CANCELLING, STATE_IN_FLIGHT, WRITABLE,
    Operation, ReceiveOperation, SendOperation,
)
from headrace.core.ready_queue cimport BUFFER, BUFFER_SHIFT, MORE, ready_push
from headrace.core.statistics cimport (
    CALL_IO_URING_ENTER, CALL_IO_URING_REGISTER, CALL_IO_URING_SETUP, KIND_ACCEPT, KIND_FILE_CLOSE,
    KIND_FILE_WRITE, KIND_POLL, KIND_RECEIVE, KIND_RECEIVE_FROM, KIND_SEND,
)
from headrace.kernel cimport uring as h
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.poll cimport POLLIN, POLLOUT
from headrace.kernel.socket cimport MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK
from headrace.kernel.thread cimport thread_token
from headrace.kernel.time cimport (
    monotonic_seconds, nanosleep, timespec, timespec_from_seconds,
)
from headrace.models.contract cimport (
    CANCELLED, COMPLETED, PENDING, RECEIVED_BYTES_MAX, Model,
)
from headrace.models.ring_buffers cimport RingBuffers
from headrace.models.ring_files cimport fill_file, ring_takes_file

import os

from headrace.models.ring_support import kernel_release, unavailable_reason

cdef enum:
    SQ_ENTRIES = 256
    CQ_ENTRIES = 4096
    # More than a turn brings at a thousand busy connections: since Linux 6.13 an enter runs the
    # work of at most 20 requests beyond what it waits for.
    BUFFER_COUNT = 256
    # So many enters in one turn: more than the buffers are for.
    ENTERS_MAX = 12
    # A datagram's buffers: after as many, the receive is armed again.
    RECORD_COUNT = 64
    RECORD_GROUP = 1
# Few completions for a large message; only what was received into is resident.
cdef size_t BUFFER_SIZE = 32 * 1024
# What is longer is sent directly: see the list above.
cdef size_t RING_SEND_MAX = 8 * 1024
# Receiving in the loop's thread: into what, and which pieces in a row are worth it no more.
cdef size_t DIRECT_BUFFER_SIZE = 256 * 1024
cdef int DIRECT_SMALL = 6 * 1024
cdef int DIRECT_SMALL_MAX = 16
cdef double CLOSE_WAIT_S = 0.25
# How long a ring that was closed may still count, on a busy machine, and the pause between tries.
cdef double OLD_RING_COUNTS_S = 0.25
cdef double RING_RETRY_S = 0.002

# When no ring of ours that was closed counts any more.  At first those of the program that has
# become this one: `headrace run` has tried whether there is a ring, and then called execve(2).
cdef double old_rings_count_until_s = monotonic_seconds() + OLD_RING_COUNTS_S

# OWNS for ever: file operations whose end was not seen.  A ring that is gone may still do them.
cdef list kept_for_kernel = []


cdef class Uring(Model):
    name = "uring"
    stevens = "asynchronous"
    waits = "the kernel"
    copies = "the kernel"
    # Many streams need the first alone; few sends, large pieces and sock_*() call directly.
    system_calls = ("io_uring_enter", "recv", "send", "accept4", "recvmmsg", "sendto")
    capabilities = {
        "edge_triggered": False,
        "cancels_at_once": False,
        "multishot": True,
        "batches": True,
        "regular_files": True,
        "file_operations": True,
        "descriptor_max": None,
        "prompt": True,
    }
    looks_for_free = True

    def __cinit__(self, *arguments, **keywords):
        self.again = []
        self.cancel_again = []
        self.to_direct = []
        self.direct_buffers = BufferPool(1, DIRECT_BUFFER_SIZE)

    def __init__(
        self, *, bint defer_taskrun=True, bint multishot_receive=True,
        int completion_entries=CQ_ENTRIES, int buffer_count=BUFFER_COUNT,
        bint incremental_buffers=True,
    ):
        if buffer_count < 1 or buffer_count & (buffer_count - 1) or buffer_count > 32768:
            raise ValueError(f"buffer_count must be a power of two up to 32768: {buffer_count}")
        self.defer_taskrun = defer_taskrun
        self.multishot_receive = multishot_receive
        self.completion_entries = completion_entries
        self.buffers = RingBuffers(buffer_count, BUFFER_SIZE)
        self.buffers.may_be_incremental = incremental_buffers and kernel_release() >= (6, 16)
        self.pool = self.buffers
        memset(&self.record_shape, 0, sizeof(self.record_shape))
        self.record_shape.msg_namelen = RECORD_ADDRESS_BYTES

    def __dealloc__(self):
        self.drop_ring()

    @classmethod
    def available(cls):
        cdef Uring model = cls()
        try:
            model.make_ring()
        except OSError as error:
            if error.errno in (EMFILE, ENFILE):
                return None  # says nothing of rings; open() will try again
            return error.strerror
        model.drop_ring()
        return None

    @property
    def features(self):
        """What this ring uses, for `headrace models` and tests."""
        return {
            "defer_taskrun": self.has_ring and bool(self.ring.flags & h.IORING_SETUP_DEFER_TASKRUN),
            "multishot_receive": self.multishot_receive,
            "incremental_buffers": self.has_ring and self.buffers.is_incremental,
        }

    # The contract.

    cpdef open(self):
        self.make_ring()
        self.generation = fork_generation()
        self.is_open = True

    cpdef bind(self):
        cdef bint forked = self.generation != fork_generation()
        cdef bint same_thread = self.owner_thread == thread_token()
        if forked or not self.has_ring or (self.is_enabled and not same_thread):
            self.move_to_new_ring(forked)
        if not self.is_enabled:
            self.enable()

    cpdef int submit(self, Operation operation) except -1:
        if operation.eager and (
            operation.composed or self.has_few_sends or is_large_send(operation)
        ):
            if operation.perform(&self.statistics.counters) != OUTCOME_NOT_DONE:
                return COMPLETED
        if operation.kind == KIND_RECEIVE:
            reconsider(operation)
        if self.is_usable():
            self.prepare(operation)
        else:
            self.again.append(operation)
        return PENDING

    cpdef int cancel(self, Operation operation) except -1:
        if not self.is_usable():
            return self.cancel_elsewhere(operation)
        self.cancelling += 1
        self.prepare_cancel(operation)
        return PENDING

    cdef int cancel_elsewhere(self, Operation operation) except -1:
        """Cancel where the ring must not be touched: see is_usable()."""
        if operation in self.again:
            self.again.remove(operation)
            return CANCELLED
        if self.generation != fork_generation():
            # What is in the parent's ring completes in the parent.
            return CANCELLED
        self.cancelling += 1
        self.cancel_again.append(operation)
        return PENDING

    cpdef wait(self, double timeout_s):
        cdef int enters = 1
        self.refuse_in_child()
        self.harvested_bytes = 0
        self.buffers.top_up()
        if self.records is not None:
            self.records.top_up()
        self.prepare_again()
        if self.ready.count:
            timeout_s = 0  # operations have ended without the kernel's help
        self.enter(timeout_s)
        self.harvest()
        # An enter does the work of some 20 requests beyond what it waits for (since Linux 6.13).
        # All that has happened belongs to this turn: 50 ends of streams are no three turns apart.
        while enters < ENTERS_MAX and self.ring.sq.kflags[0] & h.IORING_SQ_TASKRUN:
            enters += 1
            self.enter(0)
            self.harvest()

    cpdef flush(self):
        if self.is_usable():
            self.enter(0)

    cpdef close(self):
        if not self.is_open:
            return
        self.is_open = False
        try:
            if self.is_usable() and self.in_flight.count:
                self.cancel_everything()
            elif self.has_ring and self.generation == fork_generation():
                # What is there already must be given back: descriptors, buffers.
                self.harvest()
        finally:
            self.drop_everything()

    cpdef bint takes_file(self, int kind) except -1:
        return self.is_usable() and ring_takes_file(&self.ring, kind)

    cdef int drop_everything(self) except -1:
        cdef Operation operation
        self.drop_ring()
        for entry in self.in_flight:
            operation = <Operation>entry
            if not operation.queued:
                self.keep_for_kernel(operation)
                operation.retire()
        self.again.clear()
        self.cancel_again.clear()
        self.forget_direct()
        return 0

    cdef int keep_for_kernel(self, Operation operation) except -1:
        """The ring goes without the end of a file operation: see kept_for_kernel."""
        if isinstance(operation, FileOperation) and operation not in self.again:
            if self.generation == fork_generation():
                kept_for_kernel.append(operation)
        return 0

    # The ring's life.

    cdef bint is_usable(self) noexcept:
        """May this thread of this process touch the ring?

        A forked child shares its memory with the parent, and would submit in the parent's name.
        """
        return (
            self.is_enabled
            and self.generation == fork_generation()
            and self.owner_thread == thread_token()
        )

    cdef int make_ring(self) except -1:
        """Make a ring; on ENOMEM again and again, as long as rings of old may be the reason."""
        cdef double deadline = old_rings_count_until_s
        cdef timespec pause
        while True:
            try:
                return self.try_ring()
            except OSError as error:
                if error.errno != ENOMEM or monotonic_seconds() >= deadline:
                    raise OSError(error.errno, unavailable_reason(error)) from None
            pause = timespec_from_seconds(RING_RETRY_S)
            with nogil:
                nanosleep(&pause, NULL)

    cdef int try_ring(self) except -1:
        """Make a ring with its buffers, not enabled yet."""
        cdef int error = EINVAL
        cdef int mode
        for mode in range(0 if self.defer_taskrun else 1, 3):
            error = self.set_up(mode)
            if error != EINVAL:
                break
        if error:
            raise OSError(error, f"io_uring_setup: {os.strerror(error)}")
        self.has_ring = True
        self.is_enabled = False
        if not self.ring.features & h.IORING_FEAT_EXT_ARG:
            self.drop_ring()
            raise OSError(ENOSYS, "the kernel's is too old")
        error = self.buffers.register(&self.ring)
        self.count_call(CALL_IO_URING_REGISTER)
        if error:
            self.drop_ring()
            raise OSError(error, f"io_uring_register: provided buffers: {os.strerror(error)}")
        return 0

    cdef int set_up(self, int mode) noexcept:
        """io_uring_setup(2), newest features first; 0 or an errno."""
        cdef h.io_uring_params params
        memset(&params, 0, sizeof(params))
        params.cq_entries = self.completion_entries
        params.flags = h.IORING_SETUP_CLAMP | h.IORING_SETUP_CQSIZE | h.IORING_SETUP_R_DISABLED
        if mode == 0:
            params.flags |= (
                h.IORING_SETUP_SINGLE_ISSUER | h.IORING_SETUP_DEFER_TASKRUN
                | h.IORING_SETUP_TASKRUN_FLAG
            )
        elif mode == 1:
            params.flags |= h.IORING_SETUP_COOP_TASKRUN | h.IORING_SETUP_TASKRUN_FLAG
        self.count_call(CALL_IO_URING_SETUP)
        # The kernel wants no more submission than completion entries.
        return -h.io_uring_queue_init_params(
            min(<unsigned int>SQ_ENTRIES, self.completion_entries), &self.ring, &params
        )

    cdef int count_call(self, int call) noexcept:
        if self.statistics is not None:
            self.statistics.counters.system_calls[call] += 1
        return 0

    cdef int enable(self) except -1:
        cdef int error
        self.count_call(CALL_IO_URING_REGISTER)
        error = -h.io_uring_enable_rings(&self.ring)
        if error:
            raise OSError(error, f"io_uring_register: enable: {os.strerror(error)}")
        self.owner_thread = thread_token()
        self.is_enabled = True
        return 0

    cdef int drop_ring(self) noexcept:
        global old_rings_count_until_s
        if self.has_ring:
            self.has_ring = False
            self.is_enabled = False
            if self.records is not None:
                self.records.is_registered = False
            h.io_uring_queue_exit(&self.ring)
            old_rings_count_until_s = monotonic_seconds() + OLD_RING_COUNTS_S
        return 0

    cdef int move_to_new_ring(self, bint forked) except -1:
        """Another thread or process runs the loop now: take everything along to a new ring."""
        cdef Operation operation
        if self.has_ring and not forked:
            if not self.ring.flags & h.IORING_SETUP_DEFER_TASKRUN:
                # The other thread may complete requests as long as there are any.
                self.cancel_and_harvest()
            # Reading completions needs no system call; in a forked child it would steal them
            # from the parent, with whom the ring's memory is shared.
            self.harvest()
        self.drop_ring()
        self.make_ring()
        again = set(self.again)
        self.again.clear()
        self.cancel_again.clear()
        self.forget_direct()
        for entry in self.in_flight:
            operation = <Operation>entry
            if operation.queued:
                continue
            if operation not in again and self.is_not_to_repeat(operation, forked):
                self.finish(operation, -ECANCELED)
            else:
                self.again.append(operation)
        self.generation = fork_generation()
        return 0

    cdef bint is_not_to_repeat(self, Operation operation, bint forked) except -1:
        """May the old ring still do what must not be done twice?"""
        if isinstance(operation, FileOperation):
            self.keep_for_kernel(operation)
            return True
        return forked and operation.kind == KIND_SEND and not operation.composed

    cdef int cancel_everything(self) except -1:
        """Before the ring goes: no operation may keep writing into memory that we free."""
        for entry in self.again:
            self.finish(<Operation>entry, -ECANCELED)
        self.again.clear()
        for entry in self.in_flight:
            if (<Operation>entry).state == STATE_IN_FLIGHT:
                (<Operation>entry).state = STATE_CANCELLING
                self.cancelling += 1
        return self.cancel_and_harvest()

    cdef int cancel_and_harvest(self) except -1:
        """Cancel all that the kernel holds, and take its answers, for a bounded time."""
        cdef double deadline = monotonic_seconds() + CLOSE_WAIT_S
        cdef h.io_uring_sqe *sqe
        while self.is_kernel_busy() and monotonic_seconds() < deadline:
            # Each time: what is on its way to a worker thread is not found.
            sqe = self.next_sqe()
            h.io_uring_prep_cancel64(
                sqe, 0, h.IORING_ASYNC_CANCEL_ANY | h.IORING_ASYNC_CANCEL_ALL
            )
            h.io_uring_sqe_set_data64(sqe, 0)
            self.enter(0.01)
            self.harvest()
        return 0

    cdef bint is_kernel_busy(self) except -1:
        """Does the kernel hold an operation that has neither ended nor come back?"""
        back = set(self.again)
        return any([
            not (<Operation>entry).queued and entry not in back for entry in self.in_flight
        ])

    # Submission.

    cdef h.io_uring_sqe *next_sqe(self) except NULL:
        cdef h.io_uring_sqe *sqe = h.io_uring_get_sqe(&self.ring)
        while sqe == NULL:
            self.enter(0)
            if h.io_uring_sq_ready(&self.ring):
                # EBUSY: the kernel wants its completions taken before it takes more.
                self.harvest()
            sqe = h.io_uring_get_sqe(&self.ring)
        return sqe

    cdef int prepare(self, Operation operation) except -1:
        """Fill a submission entry; the kernel sees it at the next enter."""
        cdef h.io_uring_sqe *sqe
        if (
            not operation.composed and not is_ring_kind(operation.kind)
            and not isinstance(operation, FileOperation)
        ):
            # Before an entry is taken: one that is not filled would be submitted as it was.
            raise ValueError(f"uring does not know how to do {operation!r}")
        if operation.kind == KIND_RECEIVE_FROM and not operation.composed:
            operation.composed = not self.has_records()
        sqe = self.next_sqe()
        self.fill(sqe, operation)
        h.io_uring_sqe_set_data64(sqe, <uint64_t><void *>operation)
        return 0

    cdef bint has_records(self) except -1:
        """Can datagrams be received by the kernel?  Makes the buffers for it at the first."""
        if not self.multishot_receive:
            return False
        if self.records is None:
            self.records = RingBuffers(RECORD_COUNT, RECORD_BYTES_MAX)
            self.records.group = RECORD_GROUP
        if not self.records.is_registered:
            self.count_call(CALL_IO_URING_REGISTER)
            self.records.register(&self.ring)
        return self.records.is_registered

    cdef int fill(self, h.io_uring_sqe *sqe, Operation operation) noexcept:
        if operation.kind == KIND_POLL or waits_only(operation):
            h.io_uring_prep_poll_add(
                sqe, operation.fd,
                (POLLIN if operation.events & READABLE else 0)
                | (POLLOUT if operation.events & WRITABLE else 0),
            )
        elif operation.kind == KIND_RECEIVE:
            h.io_uring_prep_recv(sqe, operation.fd, NULL, 0, 0)
            sqe.flags |= h.IOSQE_BUFFER_SELECT
            sqe.buf_group = self.buffers.group
            if self.multishot_receive:
                sqe.ioprio |= h.IORING_RECV_MULTISHOT
        elif operation.kind == KIND_SEND:
            # BORROWS: the operation keeps its source, and the in-flight list the operation.
            h.io_uring_prep_send(
                sqe, operation.fd, (<SendOperation>operation).memory,
                (<SendOperation>operation).length, MSG_NOSIGNAL,
            )
        elif operation.kind == KIND_RECEIVE_FROM:
            (<ReceiveDatagramsOperation>operation).records = self.records
            # BORROWS: the shape is the model's, and the ring's for no longer than the model.
            h.io_uring_prep_recvmsg_multishot(sqe, operation.fd, &self.record_shape, 0)
            sqe.flags |= h.IOSQE_BUFFER_SELECT
            sqe.buf_group = RECORD_GROUP
        elif operation.kind == KIND_ACCEPT:
            h.io_uring_prep_multishot_accept(
                sqe, operation.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC
            )
        elif isinstance(operation, FileOperation):
            fill_file(sqe, <FileOperation>operation)
        return 0

    cdef int prepare_cancel(self, Operation operation) except -1:
        cdef h.io_uring_sqe *sqe = self.next_sqe()
        h.io_uring_prep_cancel64(sqe, <uint64_t><void *>operation, 0)
        h.io_uring_sqe_set_data64(sqe, 0)
        if self.ring.features & h.IORING_FEAT_CQE_SKIP:
            sqe.flags |= h.IOSQE_CQE_SKIP_SUCCESS
        return 0

    cdef int prepare_again(self) except -1:
        cdef list operations
        if self.to_direct:
            self.end_multishots()
        if self.cancel_again:
            operations = self.cancel_again
            self.cancel_again = []
            for entry in operations:
                if not (<Operation>entry).queued:
                    self.prepare_cancel(<Operation>entry)
        if not self.again:
            return 0
        operations = self.again
        self.again = []
        operations.reverse()
        try:
            while operations:
                self.prepare_or_end(<Operation>operations[-1])
                operations.pop()
        finally:
            # Whatever went wrong, nobody is forgotten.
            self.again.extend(operations)
        return 0

    cdef int end_multishots(self) except -1:
        """Cancel the receives that are to go direct: what is cancelled unasked is repeated."""
        cdef ReceiveOperation operation
        cdef list operations = self.to_direct
        self.to_direct = []
        for entry in operations:
            operation = <ReceiveOperation>entry
            operation.asks_direct = False
            if operation.direct is None and operation.state == STATE_IN_FLIGHT:
                operation.direct = self.direct_buffers
                operation.small_pieces = 0
                self.prepare_cancel(operation)
        return 0

    cdef int forget_direct(self) except -1:
        for entry in self.to_direct:
            (<ReceiveOperation>entry).asks_direct = False
        self.to_direct.clear()
        return 0

    cdef int prepare_or_end(self, Operation operation) except -1:
        if operation.state == STATE_IN_FLIGHT:
            return self.prepare(operation)
        return self.finish(operation, -ECANCELED)

    cdef int enter(self, double timeout_s) except -1:
        """One io_uring_enter(2): hand over, and wait if there is reason to."""
        cdef h.__kernel_timespec limit
        cdef h.io_uring_cqe *first
        cdef int answer
        if timeout_s == 0:
            if h.io_uring_sq_ready(&self.ring) == 0 and not (
                self.ring.sq.kflags[0] & (h.IORING_SQ_TASKRUN | h.IORING_SQ_CQ_OVERFLOW)
            ) and self.ring.flags & h.IORING_SETUP_TASKRUN_FLAG:
                return 0
            self.count_call(CALL_IO_URING_ENTER)
            answer = h.io_uring_submit_and_get_events(&self.ring)
        elif timeout_s < 0:
            self.count_call(CALL_IO_URING_ENTER)
            with nogil:
                answer = h.io_uring_submit_and_wait(&self.ring, 1)
        else:
            limit.tv_sec = <long long>timeout_s
            limit.tv_nsec = <long long>((timeout_s - <double>limit.tv_sec) * 1e9)
            self.count_call(CALL_IO_URING_ENTER)
            with nogil:
                answer = h.io_uring_submit_and_wait_timeout(&self.ring, &first, 1, &limit, NULL)
        if answer < 0 and answer not in (-ETIME, -EINTR, -EBUSY, -EAGAIN):
            raise OSError(-answer, f"io_uring_enter: {os.strerror(-answer)}")
        return 0

    # Completion.

    cdef int harvest(self) except -1:
        cdef h.io_uring_cqe *entries[512]
        cdef unsigned int count, taken
        cdef h.io_uring_cqe *entry
        cdef bint missed = False
        self.harvests += 1
        if self.statistics is not None:
            if self.ring.sq.kflags[0] & h.IORING_SQ_CQ_OVERFLOW:
                self.statistics.counters.completion_overflows += 1
        while True:
            count = h.io_uring_peek_batch_cqe(&self.ring, entries, 512)
            taken = 0
            try:
                while taken < count:
                    entry = entries[taken]
                    if entry.flags & h.IORING_CQE_F_BUFFER and not self.buffers.has_piece():
                        # The rest in the next turn, when those of this one are back.
                        return self.cancel_missed() if missed else 0
                    taken += 1
                    if entry.user_data != 0:
                        self.take(
                            <Operation><void *><size_t>entry.user_data, entry.res, entry.flags
                        )
                    elif entry.res == -ENOENT:
                        missed = True
            finally:
                # An entry that was taken must not be taken again, even if that failed.
                h.io_uring_cq_advance(&self.ring, taken)
            if count < 512:
                return self.cancel_missed() if missed else 0

    cdef int cancel_missed(self) except -1:
        """A cancellation has not found its operation: those that have not ended are told again."""
        cdef PyObject *entry = NULL
        cdef Operation operation
        if self.cancelling > 0:  # else it was too late, as when a watcher's callback removes it
            # Along the list itself: a copy of ten thousand idle connections would cost more.
            entry = self.in_flight.first
        while entry != NULL:
            operation = <Operation>entry
            if operation.state == STATE_CANCELLING and not operation.queued:
                self.cancel_again.append(operation)
            entry = operation.following
        return 0

    cdef int take(self, Operation operation, int result, unsigned int flags) except -1:
        """One completion entry: what it means for its operation."""
        cdef unsigned int carried = 0
        if flags & h.IORING_CQE_F_BUFFER:
            carried = self.lend_piece(self.buffers_of(operation), result, flags)
        if result < 0 and self.is_to_repeat(operation, result):
            return self.repeat(operation)
        if operation.composed and result >= 0:
            self.left_kernel(operation)
            return self.perform_soon(operation)
        if operation.kind == KIND_RECEIVE and result >= 0:
            if waits_only(operation) and not carried:
                # The answer of its poll: what a receive answers has a buffer, or is the end.
                self.left_kernel(operation)
                return self.perform_soon(operation)
            self.note_piece(<ReceiveOperation>operation, result, flags)
        if operation.kind == KIND_POLL and result > 0:
            result = ready_events(operation, result)
        if not operation.multishot or result < 0 or (
            result == 0 and operation.kind != KIND_ACCEPT
        ):
            return self.finish(operation, result)
        self.statistics.counters.completions += 1
        ready_push(self.ready, operation, result, carried | MORE)
        if not flags & h.IORING_CQE_F_MORE:
            return self.repeat(operation)
        return 0

    cdef unsigned int lend_piece(
        self, RingBuffers buffers, int result, unsigned int flags
    ) noexcept:
        """What the queue carries for the buffer of a completion: nothing, if that has no data."""
        cdef unsigned int number = flags >> h.IORING_CQE_BUFFER_SHIFT
        cdef bint more = flags & h.HEADRACE_CQE_F_BUF_MORE
        if result > 0:
            return BUFFER | <unsigned int>buffers.lend(number, result, more) << BUFFER_SHIFT
        if not more:
            buffers.done(number)
        return 0

    cdef int note_piece(
        self, ReceiveOperation operation, int result, unsigned int flags
    ) except -1:
        """Is it more than these buffers are for?  Then it is the last of its kind.

        So large a piece in a turn that has brought more than the cache holds; or two at once that
        have filled their buffers.
        """
        cdef bint is_full = <size_t>result == BUFFER_SIZE
        self.harvested_bytes += result
        if result < DIRECT_SMALL or operation.asks_direct or not flags & h.IORING_CQE_F_MORE:
            return 0
        if self.harvested_bytes > RECEIVED_BYTES_MAX or (
            is_full and operation.full_harvest == self.harvests
        ):
            operation.asks_direct = True
            self.to_direct.append(operation)
        if is_full:
            operation.full_harvest = self.harvests
        return 0

    cdef RingBuffers buffers_of(self, Operation operation):
        return self.records if operation.kind == KIND_RECEIVE_FROM else self.buffers

    cdef bint is_to_repeat(self, Operation operation, int result) noexcept:
        """Is this failure the ring's, not the operation's?"""
        if result == -ECANCELED:
            return operation.state == STATE_IN_FLIGHT
        if KIND_FILE_CLOSE <= operation.kind <= KIND_FILE_WRITE:
            # "Not now" is an answer: who splices waits by itself.  And after EINTR a close(2) has
            # closed: the number may be another's.
            return False
        if operation.kind == KIND_RECEIVE:
            if result == -ENOBUFS:
                self.buffers.starve()
                self.statistics.counters.buffer_starvation += 1
                return True
            if result == -EINVAL and self.multishot_receive:
                # Linux before 6.0: one receive at a time, armed again after each.
                self.multishot_receive = False
                return True
        if operation.kind == KIND_RECEIVE_FROM and not operation.composed:
            if result == -ENOBUFS:
                self.statistics.counters.buffer_starvation += 1
                return True
            if result == -EINVAL:
                operation.composed = True  # if the error was the socket's, it comes back
                return True
        if operation.kind == KIND_ACCEPT:
            return result == -ECONNABORTED or result == -EPROTO
        return result == -EINTR or result == -EAGAIN

    cdef int repeat(self, Operation operation) except -1:
        if operation.state == STATE_IN_FLIGHT:
            self.again.append(operation)
            return 0
        return self.finish(operation, -ECANCELED)

    cdef int left_kernel(self, Operation operation) noexcept:
        if operation.state == STATE_CANCELLING:
            self.cancelling -= 1
        return 0

    cdef int finish(self, Operation operation, int result) except -1:
        """The terminal completion: from here on the kernel knows nothing of the operation."""
        self.left_kernel(operation)
        operation.queued = True
        operation.result = result
        self.statistics.counters.completions += 1
        return ready_push(self.ready, operation, result, 0)


cdef inline bint is_ring_kind(int kind) noexcept:
    """Has the ring a request for it?  Asked for each: no object is made."""
    return (
        kind == KIND_SEND or kind == KIND_RECEIVE or kind == KIND_POLL or kind == KIND_ACCEPT
        or kind == KIND_RECEIVE_FROM
    )


cdef inline bint waits_only(Operation operation) noexcept:
    """Does the ring only wait, because the loop's thread performs?"""
    return operation.composed or (
        operation.kind == KIND_RECEIVE and (<ReceiveOperation>operation).direct is not None
    )


cdef void reconsider(ReceiveOperation operation) noexcept:
    """It goes on: after many small pieces in a row it is the kernel's to receive again."""
    if operation.direct is None:
        return
    if operation.result >= DIRECT_SMALL:
        operation.small_pieces = 0
        return
    operation.small_pieces += 1
    if operation.small_pieces >= DIRECT_SMALL_MAX:
        operation.direct = None


cdef bint is_large_send(Operation operation) noexcept:
    """Copying this much outweighs the system call; and it need not wait for the turn's end."""
    return operation.kind == KIND_SEND and (<SendOperation>operation).length > RING_SEND_MAX


cdef int ready_events(Operation operation, int revents) noexcept:
    if revents & ~(POLLIN | POLLOUT):
        return operation.events
    return (READABLE if revents & POLLIN else 0) | (WRITABLE if revents & POLLOUT else 0)
