"""Blocking I/O: a thread for each operation, which sleeps in the call until the data are there.

Facts.  A blocked recv(2) blocks its thread in both phases, while it waits and while the kernel
copies.  So there must be a thread for each: about 30 KiB each, most of it in the kernel, and two
switches between threads for each request.

What the obvious does wrong.  (1) Threads of which each runs Python fight for one lock; these
here run none, and the program above them stays single-threaded.  (2) O_NONBLOCK makes the call
return instead of blocking.  What the loop owns (`owned`) is made blocking for as long as it owns
it; beside a descriptor that is its user's, or a listener, which other processes may share, the
worker waits in poll(2) where the call says EAGAIN.  (3) A bounded pool that is full of readers of
idle connections never serves the next one.  The bound is $HEADRACE_THREADS (by default what a
quarter of the free memory holds), and beyond it threads go round: who has blocked longest is
interrupted and stands at the end of the queue.  Nothing is lost by that, an interrupted call has
taken nothing; it costs latency.

Decision.  Receiving and sending block in the real call, through both phases; accepting is done by
the worker, too.  What a cancelled caller would lose (sock_*, sendfile, pipes, datagrams), and
connecting, which asyncio begins itself (`composed`), waits in poll(2) and is done by the loop's
thread.  sendfile(2) knows no MSG_DONTWAIT: a connection that is lent to it is non-blocking again.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from headrace.core.operation cimport (
    OUTCOME_NOT_DONE, STATE_CANCELLING, STATE_IN_FLIGHT, Operation, SendOperation,
)
from headrace.core.ready_queue cimport BUFFER, BUFFER_SHIFT, MORE, ready_push
from headrace.core.statistics cimport (
    CALL_ACCEPT4, CALL_FCNTL, CALL_FUTEX, CALL_POLL, CALL_RECV, CALL_SEND,
    KIND_ACCEPT, KIND_CONNECT, KIND_POLL, KIND_RECEIVE, KIND_SEND,
)
from headrace.kernel cimport signal as signal_h
from headrace.kernel cimport unistd
from headrace.kernel.errno cimport EAGAIN, ECANCELED, EINTR
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.poll cimport POLLNVAL, POLLOUT, poll, pollfd
from headrace.kernel.time cimport monotonic_seconds
from headrace.kernel.unistd cimport F_GETFL, F_SETFL, O_NONBLOCK, set_flags
from headrace.models.contract cimport CANCELLED, COMPLETED, PENDING, Model
from headrace.models.thread_limit import thread_limit as limit_of_threads, unusable_reason
from headrace.models.workers cimport (
    CALLS_ACCEPT, CALLS_POLL, CALLS_RECV, CALLS_SEND, INTERRUPT_AGAIN_US, TO_CANCEL, TO_ROTATE,
    Job, Notice, SharedBufferPool, Worker, cancel_at_once, dismiss_all, give, interrupt,
    is_calling, join_left, sleep_until_notice, start_worker, take_idle, take_notices,
)

cdef int BUFFER_COUNT = 64
cdef size_t BUFFER_SIZE = 64 * 1024
# A thread answers its interruption in some 20 us, or when it gets a processor: so long that is
# waited for, because who cancels wants to close the descriptor.
cdef double CANCEL_WAIT_S = 1.0
cdef double INTERRUPT_AGAIN_S = INTERRUPT_AGAIN_US * 1e-6
# So long a thread may take for a send of the last turn: on a busy machine it waits for a processor.
cdef double SEND_WAIT_S = 1.0
# Where the kernel has refused a thread it is asked again after this long.
cdef double REFUSED_S = 0.1
# So long may a thread block while others wait for one.
cdef double TURN_S = 0.01

cdef dict CALL_COUNTED = {
    CALLS_ACCEPT: CALL_ACCEPT4, CALLS_RECV: CALL_RECV, CALLS_SEND: CALL_SEND, CALLS_POLL: CALL_POLL,
}


cdef bint is_send_of_worker(Job *job) noexcept:
    return job.call == CALLS_SEND and job.worker != NULL


cdef bint has_room(Operation operation) noexcept:
    cdef pollfd entry
    entry.fd = operation.fd
    entry.events = POLLOUT
    entry.revents = 0
    return poll(&entry, 1, 0) == 1 and not entry.revents & POLLNVAL


cdef class Blocking(Model):
    name = "blocking"
    stevens = "blocking"
    waits = "a worker thread, inside recv()"
    copies = "the worker thread"
    system_calls = (
        "recv", "send", "accept4", "connect", "poll", "fcntl", "futex", "recvmmsg", "sendto",
    )
    # It interrupts threads where the queue of signals is full.  (Who restarts calls that it has
    # interrupted, as asyncio asks for, would never free them.)
    signals_needed = (signal_h.SIGIO,)
    capabilities = {**Model.capabilities, "multishot": True, "regular_files": True}

    def __init__(self, thread_limit=None):
        self.thread_limit = limit_of_threads() if thread_limit is None else thread_limit
        self.jobs = {}
        self.lanes = {}
        self.interrupted = []
        self.again = []
        self.made_blocking = set()
        self.lent = set()

    @classmethod
    def available(cls):
        return unusable_reason()

    @property
    def threads(self):
        """How many threads are busy, how many are there, how many may be; and who waits for one."""
        return {
            "busy": len(self.jobs) - self.waiting_count,
            "alive": self.shared.alive if self.shared != NULL else 0,
            "limit": self.thread_limit,
            "waiting": self.waiting_count,
        }

    cpdef open(self):
        cdef SharedBufferPool pool = SharedBufferPool(BUFFER_COUNT, BUFFER_SIZE)
        self.pool = pool
        self.shared = pool.shared
        self.make_threads()
        self.is_open = True

    cdef int make_threads(self) except -1:
        self.first_waiting = NULL
        self.last_waiting = NULL
        self.waiting_count = 0
        self.refused_at_s = -REFUSED_S
        self.generation = fork_generation()
        if not start_worker(self.shared, NULL):
            # With one thread everything works, if in turns; with none, nothing would.
            raise OSError(EAGAIN, "the kernel has no thread left for this process")
        return 0

    cpdef bind(self):
        """In a forked child there are no threads: all that is in flight begins anew."""
        cdef Operation operation
        if self.generation == fork_generation():
            return
        # The same pool: completions that have not come up yet stand in its buffers.  And before the
        # jobs go, which the notices that are dropped there speak of.
        (<SharedBufferPool>self.pool).begin_anew()
        self.leave_jobs_to_parent()
        self.make_threads()
        for entry in self.in_flight:
            operation = <Operation>entry
            if operation.queued:
                continue
            if operation.kind == KIND_SEND and not operation.composed:
                # The parent's thread sends it; twice would be once too often.
                self.end(operation, -ECANCELED)
            else:
                self.submit(operation)

    cdef int leave_jobs_to_parent(self) except -1:
        cdef Job *job
        for address in self.jobs.values():
            job = <Job *><size_t>address
            if job.call == CALLS_ACCEPT and job.held_back:
                unistd.close(job.held_result)  # a copy, as of those that were told
            free(job)
        self.jobs.clear()
        self.lanes.clear()
        self.interrupted.clear()
        self.again.clear()
        return 0

    cpdef int submit(self, Operation operation) except -1:
        if operation.kind not in (
            KIND_ACCEPT, KIND_CONNECT, KIND_POLL, KIND_RECEIVE, KIND_SEND,
        ):
            operation.composed = True
        if operation.composed and operation.eager:
            if operation.perform(&self.statistics.counters) != OUTCOME_NOT_DONE:
                return COMPLETED
        if self.generation != fork_generation():
            return PENDING  # bind() starts it
        if operation.kind == KIND_POLL:
            self.start_job(operation)
            return PENDING
        key = (operation.fd, operation.events)
        lane = self.lanes.get(key)
        if lane is None:
            self.lanes[key] = [operation]
            try:
                self.start_job(operation)
            except BaseException:
                del self.lanes[key]
                raise
        else:
            lane.append(operation)
            self.let_go_of_orphan(lane[0])
        return PENDING

    cdef int let_go_of_orphan(self, Operation first) except -1:
        """Its user has closed the socket, and the number is another's, who waits behind it."""
        address = self.jobs.get(first)
        if address is not None and first.state == STATE_IN_FLIGHT and first.is_orphaned():
            if (<Job *><size_t>address).worker != NULL:
                interrupt(<Job *><size_t>address, TO_ROTATE)
        return 0

    cpdef int cancel(self, Operation operation) except -1:
        cdef Job *job
        if self.generation != fork_generation():
            return CANCELLED
        address = self.jobs.get(operation)
        if address is None:
            # It stands behind another one, or waits for its own callback to end.
            if operation in self.again:
                self.again.remove(operation)
            else:
                self.leave_lane(operation)
            return self.cancelled(operation)
        job = <Job *><size_t>address
        if job.worker == NULL:
            self.remove_waiting(job)
            self.forget_job(operation, job)
            return self.cancelled(operation)
        self.count_futex()
        interrupt(job, TO_CANCEL)
        if cancel_at_once(job, CANCEL_WAIT_S):
            self.forget_job(operation, job)
            return self.cancelled(operation)
        self.interrupted.append(operation)
        return PENDING

    cdef int cancelled(self, Operation operation) except -1:
        """No thread has it any more; but the loop may have pieces of it that have not come up."""
        if not self.ready.holds(operation):
            return CANCELLED
        self.end(operation, -ECANCELED)
        return PENDING

    cpdef wait(self, double timeout_s):
        self.refuse_in_child()
        if self.again:
            self.submit_again()
        if self.interrupted:
            self.interrupt_again()
        self.take_all()
        if self.first_waiting != NULL:
            self.serve_waiting()
        if self.shared.left != NULL:
            join_left(self.shared)
        if timeout_s == 0 or self.ready.count:
            return
        timeout_s = self.wait_limit(timeout_s)
        self.count_futex()
        with nogil:
            sleep_until_notice(self.shared, timeout_s)
        self.take_all()

    cdef double wait_limit(self, double timeout_s) noexcept:
        cdef double limit = timeout_s
        if self.interrupted:
            limit = INTERRUPT_AGAIN_S
        elif self.first_waiting != NULL:
            limit = TURN_S
        return limit if timeout_s < 0 or limit < timeout_s else timeout_s

    cpdef flush(self):
        if self.generation != fork_generation():
            return  # those are the parent's threads
        self.let_go()
        self.wait_for_sends()

    cdef int let_go(self) except -1:
        """No thread is left in a call that was cancelled: the descriptor may be closed now."""
        while self.is_any_calling():
            self.interrupt_again()
            with nogil:
                sleep_until_notice(self.shared, INTERRUPT_AGAIN_S)
            self.take_all()
        return 0

    cdef int wait_for_sends(self) except -1:
        """Nobody may come back: what the kernel takes at once is to be sent."""
        cdef list operations = self.sends()
        cdef double until_s = monotonic_seconds() + SEND_WAIT_S if operations else 0
        # One for which there is no room sleeps in its call, and may for ever.
        while any([has_room(operation) for operation in self.sends()]):
            if monotonic_seconds() >= until_s:
                break
            with nogil:
                sleep_until_notice(self.shared, INTERRUPT_AGAIN_S)
            self.take_all()
        for operation in operations:
            (<SendOperation>operation).send_behind()
        return 0

    cdef list sends(self):
        """What a thread is about to send, or has sent and not said so yet."""
        return [
            operation
            for operation, address in self.jobs.items()
            if is_send_of_worker(<Job *><size_t>address)
        ]

    cpdef lend(self, int fd):
        self.make_nonblocking(fd)
        self.lent.add(fd)

    cpdef forget(self, int fd):
        if self.generation == fork_generation():
            self.let_go()
            self.make_nonblocking(fd)
        self.made_blocking.discard(fd)
        self.lent.discard(fd)

    cpdef close(self):
        if not self.is_open:
            return
        self.is_open = False
        if self.generation == fork_generation():
            self.cancel_everything()
            with nogil:
                dismiss_all(self.shared)
            join_left(self.shared)
            # (In a forked child the flags are the parent's as well, whose threads count on them.)
            for fd in list(self.made_blocking):
                self.make_nonblocking(fd)
        for entry in self.in_flight:
            if not (<Operation>entry).queued:
                (<Operation>entry).retire()
        self.jobs.clear()
        self.lanes.clear()

    cdef int cancel_everything(self) except -1:
        """No thread may be left in a call, nor write into memory that goes."""
        cdef Operation operation
        self.again.clear()
        for entry in list(self.in_flight):
            operation = <Operation>entry
            if operation.state == STATE_IN_FLIGHT and not operation.queued:
                operation.state = STATE_CANCELLING
                if self.cancel(operation) == CANCELLED:
                    operation.retire()
        while self.jobs:
            self.interrupt_again()
            with nogil:
                sleep_until_notice(self.shared, INTERRUPT_AGAIN_S)
            self.take_all()
        return 0

    # Jobs.

    cdef int start_job(self, Operation operation) except -1:
        cdef Job *job = <Job *>malloc(sizeof(Job))
        if job == NULL:
            raise MemoryError()
        memset(job, 0, sizeof(Job))
        job.operation = <void *>operation
        try:
            self.describe(operation, job)
            self.jobs[operation] = <size_t>job
            self.find_thread(job)
        except BaseException:
            self.jobs.pop(operation, None)
            free(job)
            raise
        return 0

    cdef int describe(self, Operation operation, Job *job) except -1:
        """What the thread has to know; it reads no Python object."""
        job.fd = operation.fd
        job.events = operation.events
        if operation.composed or operation.kind == KIND_POLL:
            job.call = CALLS_POLL
            return 0
        job.multishot = operation.multishot
        if operation.kind == KIND_ACCEPT:
            # Listeners are shared with other processes, and the flag would be theirs as well.
            job.call = CALLS_ACCEPT
            return 0
        if operation.kind == KIND_RECEIVE:
            job.call = CALLS_RECV
        else:
            job.call = CALLS_SEND
            job.memory = (<SendOperation>operation).memory
            job.length = (<SendOperation>operation).length
        if operation.owned:
            self.make_blocking(operation.fd)
        return 0

    cdef int find_thread(self, Job *job) except -1:
        """Give it to an idle worker, or a new one; else it waits."""
        cdef Worker *worker
        job.since_s = monotonic_seconds()
        if self.first_waiting == NULL:
            worker = take_idle(self.shared)
            if worker != NULL:
                self.count_futex()
                give(self.shared, worker, job)
                return 0
            if self.has_started(job):
                return 0
        self.append_waiting(job)
        return 0

    cdef int serve_waiting(self) except -1:
        """Threads that have become idle are for those who wait; then it is others' turn."""
        cdef Worker *worker
        cdef Job *job
        while self.first_waiting != NULL:
            worker = take_idle(self.shared)
            if worker == NULL:
                if not self.has_started_one():
                    break
                continue
            job = self.first_waiting
            self.remove_waiting(job)
            job.since_s = monotonic_seconds()
            self.count_futex()
            give(self.shared, worker, job)
        if self.first_waiting != NULL and monotonic_seconds() - self.rotated_at_s >= TURN_S:
            self.rotate()
        return 0

    cdef bint has_started_one(self) except -1:
        """A thread more, for the first that waits; it stays the first if there is none."""
        cdef Job *job = self.first_waiting
        if not self.has_started(job):
            return False
        self.remove_waiting(job)
        return True

    cdef bint has_started(self, Job *job) except -1:
        cdef double now = monotonic_seconds()
        if self.shared.alive >= self.thread_limit or now - self.refused_at_s < REFUSED_S:
            return False
        job.since_s = now
        if start_worker(self.shared, job):
            return True
        self.refused_at_s = now
        return False

    cdef int rotate(self) except -1:
        """Interrupt those who have blocked longest, one for each who waits."""
        cdef double now = monotonic_seconds()
        cdef Job *job
        self.rotated_at_s = now
        blocked = []
        interrupted = []
        for address in self.jobs.values():
            job = <Job *><size_t>address
            if job.worker == NULL:
                continue
            if job.interruption == TO_ROTATE:
                # Not ended since the last time: the signal came just before the call, and is lost.
                interrupted.append(address)
            elif job.interruption == 0 and now - job.since_s >= TURN_S:
                blocked.append((job.since_s, address))
        blocked.sort()
        count = max(self.waiting_count - len(interrupted), 0)
        self.statistics.counters.thread_rotations += min(count, len(blocked))
        for address in interrupted + [address for _, address in blocked[:count]]:
            self.count_futex()
            interrupt(<Job *><size_t>address, TO_ROTATE)
        return 0

    cdef void append_waiting(self, Job *job) noexcept:
        job.worker = NULL
        job.next = NULL
        job.previous = self.last_waiting
        if self.last_waiting == NULL:
            self.first_waiting = job
        else:
            self.last_waiting.next = job
        self.last_waiting = job
        self.waiting_count += 1

    cdef void remove_waiting(self, Job *job) noexcept:
        if job.previous == NULL:
            self.first_waiting = job.next
        else:
            job.previous.next = job.next
        if job.next == NULL:
            self.last_waiting = job.previous
        else:
            job.next.previous = job.previous
        job.next = NULL
        job.previous = NULL
        self.waiting_count -= 1

    cdef int interrupt_again(self) except -1:
        cdef list operations = self.interrupted
        self.interrupted = []
        for operation in operations:
            address = self.jobs.get(operation)
            # Not one that has ended meanwhile and was started again.
            if address is not None and (<Operation>operation).state == STATE_CANCELLING:
                self.count_futex()
                interrupt(<Job *><size_t>address, TO_CANCEL)
                self.interrupted.append(operation)
        return 0

    cdef bint is_any_calling(self) except -1:
        if not self.interrupted or self.generation != fork_generation():
            return False
        for operation in self.interrupted:
            address = self.jobs.get(operation)
            if address is not None and (<Operation>operation).state == STATE_CANCELLING:
                if is_calling(<Job *><size_t>address):
                    return True
        return False

    cdef int submit_again(self) except -1:
        cdef list operations = self.again
        self.again = []
        for operation in operations:
            if (<Operation>operation).state == STATE_IN_FLIGHT:
                self.start_job(operation)
            else:
                self.end(operation, -ECANCELED)
        return 0

    # Completion.

    cdef int take_all(self) except -1:
        cdef Notice *notice = take_notices(self.shared)
        cdef Notice *following
        failure = None
        while notice != NULL:
            following = notice.next
            try:
                self.take(notice)
            except BaseException as error:
                failure = error  # of memory; the others are told all the same
            free(notice)
            notice = following
        if failure is not None:
            raise failure
        return 0

    cdef int take(self, Notice *notice) except -1:
        cdef Job *job = notice.job
        cdef Operation operation = <Operation>job.operation
        cdef unsigned int flags = 0
        self.statistics.counters.system_calls[<int>CALL_COUNTED[job.call]] += notice.calls
        self.statistics.counters.system_calls[CALL_POLL] += notice.polls
        if notice.last:
            return self.job_ended(operation, job, notice.result)
        if notice.buffer >= 0:
            flags = BUFFER | (<unsigned int>notice.buffer << BUFFER_SHIFT)
        self.statistics.counters.completions += 1
        return ready_push(self.ready, operation, notice.result, flags | MORE)

    cdef int job_ended(self, Operation operation, Job *job, int result) except -1:
        cdef int interruption = job.interruption
        if result == -EINTR and interruption == TO_ROTATE and operation.state == STATE_IN_FLIGHT:
            if not operation.is_orphaned():
                job.interruption = 0
                job.ended = 0
                self.append_waiting(job)
                return 0
            result = operation.result
        self.jobs.pop(operation)
        free(job)
        if operation.state == STATE_CANCELLING and result == -EINTR:
            result = -ECANCELED
        if operation.composed and result >= 0:
            # Only now may the next one look: the loop's turn keeps their order.
            self.perform_soon(operation)
            return self.leave_lane(operation)
        if operation.kind == KIND_POLL:
            if operation.is_orphaned():
                result = operation.result
            if operation.multishot and result > 0 and operation.state == STATE_IN_FLIGHT:
                # Level-triggered: told again after the callback, if it is still so.
                self.again.append(operation)
                self.statistics.counters.completions += 1
                return ready_push(self.ready, operation, result, MORE)
        else:
            self.leave_lane(operation)
        return self.end(operation, result)

    cdef int end(self, Operation operation, int result) except -1:
        """The terminal completion."""
        operation.queued = True
        operation.result = result
        self.statistics.counters.completions += 1
        return ready_push(self.ready, operation, result, 0)

    cdef int leave_lane(self, Operation operation) except -1:
        key = (operation.fd, operation.events)
        lane = self.lanes.get(key)
        if lane is None or operation not in lane:
            return 0
        was_first = lane[0] is operation
        lane.remove(operation)
        if not lane:
            del self.lanes[key]
        elif was_first and self.is_open:
            self.start_job(lane[0])
        return 0

    cdef int forget_job(self, Operation operation, Job *job) except -1:
        del self.jobs[operation]
        free(job)
        return self.leave_lane(operation)

    # O_NONBLOCK.

    cdef int make_blocking(self, int fd) except -1:
        cdef int flags
        if fd in self.made_blocking or fd in self.lent:
            return 0
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        flags = unistd.fcntl(fd, F_GETFL)
        if flags < 0 or not flags & O_NONBLOCK:
            return 0
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        set_flags(fd, F_SETFL, flags & ~O_NONBLOCK)
        self.made_blocking.add(fd)
        return 0

    cdef int make_nonblocking(self, int fd) except -1:
        """As it was.  A worker that blocks in a call on it goes on blocking."""
        if fd in self.made_blocking:
            self.statistics.counters.system_calls[CALL_FCNTL] += 2
            set_flags(fd, F_SETFL, unistd.fcntl(fd, F_GETFL) | O_NONBLOCK)
            self.made_blocking.discard(fd)
        return 0

    cdef void count_futex(self) noexcept:
        self.statistics.counters.system_calls[CALL_FUTEX] += 1
