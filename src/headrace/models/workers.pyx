"""Threads that block so that the loop need not: one call of the kernel each, in the real call.

Who touches what.  The loop's thread, under the GIL, makes jobs, gives them to workers, takes
notices and frees both.  A worker runs no Python and never takes the GIL: it reads its job, blocks
in the call, and queues a notice.  One lock guards all that both write.

Freeing a thread that blocks.  A signal whose handler does nothing, without SA_RESTART, makes the
call return EINTR.  The signal can come just before the call, and is lost then; so the model
sends it again until the job has ended: every millisecond to cancel it, else at the next rotation.

Data come into memory of the worker's own first, and then into a buffer of the loop's: a
connection that is idle holds a thread, and no buffer.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport READABLE, WRITABLE
from headrace.kernel cimport aio as aio_h
from headrace.kernel cimport pthread as pthread_h
from headrace.kernel cimport signal as signal_h
from headrace.kernel cimport socket as socket_h
from headrace.kernel cimport unistd
from headrace.kernel.errno cimport (
    EAGAIN, EBADF, ECANCELED, ECONNABORTED, EINTR, EPROTO, errno,
)
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.poll cimport POLLIN, POLLNVAL, POLLOUT, poll, pollfd
from headrace.kernel.real_time_signal cimport real_time_signal
from headrace.kernel.time cimport (
    CLOCK_MONOTONIC, monotonic_seconds, sched_yield, timespec, timespec_from_seconds,
)

# Enough for one call and the bytes it brings; touched as far as they reach.
cdef size_t STACK_BYTES = 128 * 1024
cdef enum:
    CHUNK_BYTES = 64 * 1024
    # So many pieces of one job may wait for the loop: then its worker waits for the loop.
    PIECES_MAX = 4
# A worker without a job goes home after this long.
cdef double IDLE_S = 5.0

cdef int interruption_signal = 0


cdef class SharedBufferPool(BufferPool):
    def __cinit__(self, int count, size_t size):
        global interruption_signal
        interruption_signal = real_time_signal()
        self.shared = <Shared *>malloc(sizeof(Shared))
        if self.shared == NULL:
            raise MemoryError()
        self.begin()

    cdef void begin(self) noexcept:
        """No threads, nothing told."""
        memset(self.shared, 0, sizeof(Shared))
        pthread_h.pthread_mutex_init(&self.shared.lock, NULL)
        pthread_h.pthread_cond_init(&self.shared.progress, NULL)
        pthread_h.sem_init(&self.shared.wake, 0, 0)
        self.shared.buffers = self.idle
        self.shared.buffer_count = &self.idle_count
        self.shared.buffer_memory = self.memory
        self.shared.buffer_size = self.size
        self.generation = fork_generation()

    def __dealloc__(self):
        if self.shared == NULL:
            return
        if self.has_workers():
            # In a child that was forked the lock's state is anybody's guess.
            pthread_h.sem_destroy(&self.shared.wake)
            pthread_h.pthread_cond_destroy(&self.shared.progress)
            pthread_h.pthread_mutex_destroy(&self.shared.lock)
        free(self.shared)

    cdef void begin_anew(self) noexcept:
        """In a forked child: no threads, and what they had to say is the parent's."""
        cdef Notice *notice = self.shared.first
        cdef Notice *following
        cdef void **also = self.shared.also
        while notice != NULL:
            following = notice.next
            if notice.buffer >= 0:
                BufferPool.release(self, notice.buffer)
            elif notice.job.call == CALLS_ACCEPT and notice.result >= 0:
                unistd.close(notice.result)  # a copy: the parent serves it
            free(notice)
            notice = following
        self.begin()
        self.shared.also = also

    cdef bint has_workers(self) noexcept:
        """False in a forked child, which has no thread but its own."""
        return self.generation == fork_generation()

    cdef int acquire(self) noexcept:
        cdef int number
        if not self.has_workers():
            return BufferPool.acquire(self)
        pthread_h.pthread_mutex_lock(&self.shared.lock)
        number = BufferPool.acquire(self)
        pthread_h.pthread_mutex_unlock(&self.shared.lock)
        return number

    cdef void release(self, int number) noexcept:
        if not self.has_workers():
            BufferPool.release(self, number)
            return
        pthread_h.pthread_mutex_lock(&self.shared.lock)
        BufferPool.release(self, number)
        tell_progress(self.shared)
        pthread_h.pthread_mutex_unlock(&self.shared.lock)


# The loop's side.

cdef bint start_worker(Shared *shared, Job *job) noexcept:
    """Start one more worker, with *job* or idle; False if there can be no more threads."""
    cdef pthread_h.pthread_attr_t attributes
    cdef signal_h.sigset_t others, before
    cdef int error
    cdef Worker *worker = <Worker *>malloc(sizeof(Worker))
    if worker == NULL:
        return False
    memset(worker, 0, sizeof(Worker))
    worker.shared = shared
    worker.job = job
    if job != NULL:
        job.worker = worker
        job.calling = True
    pthread_h.sem_init(&worker.wake, 0, 0)
    pthread_h.pthread_attr_init(&attributes)
    pthread_h.pthread_attr_setstacksize(&attributes, STACK_BYTES)
    # It inherits what is blocked: everything but the signals that interrupt it.
    signal_h.sigfillset(&others)
    signal_h.sigdelset(&others, interruption_signal)
    signal_h.sigdelset(&others, signal_h.SIGIO)
    signal_h.pthread_sigmask(signal_h.SIG_SETMASK, &others, &before)
    pthread_h.pthread_mutex_lock(&shared.lock)
    error = pthread_h.pthread_create(&worker.thread, &attributes, work, worker)
    if error == 0:
        shared.alive += 1
        if job == NULL:
            worker.next = shared.idle
            shared.idle = worker
    pthread_h.pthread_mutex_unlock(&shared.lock)
    signal_h.pthread_sigmask(signal_h.SIG_SETMASK, &before, NULL)
    pthread_h.pthread_attr_destroy(&attributes)
    if error:
        if job != NULL:
            job.worker = NULL
        pthread_h.sem_destroy(&worker.wake)
        free(worker)
    return error == 0


cdef Worker *take_idle(Shared *shared) noexcept:
    """An idle worker, the one that was busy last; NULL if there is none."""
    cdef Worker *worker
    pthread_h.pthread_mutex_lock(&shared.lock)
    worker = shared.idle
    if worker != NULL:
        shared.idle = worker.next
        worker.next = NULL
    pthread_h.pthread_mutex_unlock(&shared.lock)
    return worker


cdef void give(Shared *shared, Worker *worker, Job *job) noexcept:
    """Let *worker*, who was idle, do *job*."""
    job.worker = worker
    job.calling = True
    pthread_h.pthread_mutex_lock(&shared.lock)
    worker.job = job
    pthread_h.pthread_mutex_unlock(&shared.lock)
    pthread_h.sem_post(&worker.wake)


cdef void interrupt(Job *job, Interruption why) noexcept:
    """Make the worker of *job* look up; who calls it calls again if the job has not ended."""
    cdef Shared *shared = job.worker.shared
    pthread_h.pthread_mutex_lock(&shared.lock)
    if job.interruption != TO_CANCEL:
        aio_h.headrace_store(&job.interruption, why)
    # Only while it has this job: a thread that has left may not be sent anything.
    if job.worker.job == job:
        # A real-time signal needs a place in the user's queue, which may be full; SIGIO needs none.
        if pthread_h.pthread_kill(job.worker.thread, interruption_signal) == EAGAIN:
            pthread_h.pthread_kill(job.worker.thread, signal_h.SIGIO)
        tell_progress(shared)
    pthread_h.pthread_mutex_unlock(&shared.lock)


cdef bint cancel_at_once(Job *job, double limit_s) noexcept:
    """Wait until an interrupted job has ended; True if it has ended with nothing to tell."""
    cdef double deadline = monotonic_seconds() + limit_s
    cdef double again = monotonic_seconds() + INTERRUPT_AGAIN_US * 1e-6
    while not aio_h.headrace_load(&job.ended):
        if monotonic_seconds() >= deadline or read_locked(job, &job.held_back):
            break  # it has something to tell, and waits until the loop listens
        if monotonic_seconds() >= again:
            again += INTERRUPT_AGAIN_US * 1e-6
            interrupt(job, TO_CANCEL)
        with nogil:
            sched_yield()
    return aio_h.headrace_load(&job.ended) and take_back(job)


cdef bint take_back(Job *job) noexcept:
    """Drop the one notice of a job that says that it was cancelled; False if there is another."""
    cdef Shared *shared = job.worker.shared
    cdef Notice **place = &shared.first
    cdef Notice *before = NULL
    cdef Notice *notice
    cdef bint is_only
    pthread_h.pthread_mutex_lock(&shared.lock)
    while place[0] != NULL and place[0].job != job:
        before = place[0]
        place = &place[0].next
    notice = place[0]
    is_only = notice != NULL and notice.last and notice.result == -ECANCELED
    if is_only:
        place[0] = notice.next
        if shared.last == notice:
            shared.last = before
        free(notice)
    pthread_h.pthread_mutex_unlock(&shared.lock)
    return is_only


cdef bint is_calling(Job *job) noexcept:
    """May its worker, which was interrupted, still use the descriptor?"""
    return read_locked(job, &job.calling)


cdef bint read_locked(Job *job, bint *fact) noexcept:
    """What its worker writes under the lock."""
    cdef Shared *shared = job.worker.shared
    cdef bint answer
    pthread_h.pthread_mutex_lock(&shared.lock)
    answer = fact[0]
    pthread_h.pthread_mutex_unlock(&shared.lock)
    return answer


cdef Notice *take_notices(Shared *shared) noexcept:
    """All notices in the order they came, the caller's to free."""
    cdef Notice *first
    cdef Notice *notice
    pthread_h.pthread_mutex_lock(&shared.lock)
    first = shared.first
    shared.first = NULL
    shared.last = NULL
    notice = first
    while notice != NULL:
        notice.job.pieces -= 1
        notice = notice.next
    if first != NULL:
        tell_progress(shared)
    pthread_h.pthread_mutex_unlock(&shared.lock)
    return first


cdef void sleep_until_notice(Shared *shared, double timeout_s) noexcept nogil:
    """Wait for a notice, a signal, or *timeout_s* seconds (for ever if negative)."""
    cdef timespec deadline
    pthread_h.pthread_mutex_lock(&shared.lock)
    if shared.first != NULL:
        pthread_h.pthread_mutex_unlock(&shared.lock)
        return
    # Before looking at `also`, in the order that who fills it sees.
    aio_h.headrace_store(&shared.asleep, True)
    pthread_h.pthread_mutex_unlock(&shared.lock)
    if shared.also != NULL and aio_h.headrace_load_pointer(shared.also) != NULL:
        timeout_s = 0
    if timeout_s < 0:
        pthread_h.sem_wait(&shared.wake)
    elif timeout_s > 0:
        deadline = timespec_from_seconds(monotonic_seconds() + timeout_s)
        pthread_h.sem_clockwait(&shared.wake, CLOCK_MONOTONIC, &deadline)
    pthread_h.pthread_mutex_lock(&shared.lock)
    shared.asleep = False
    pthread_h.pthread_mutex_unlock(&shared.lock)
    # Who has posted, perhaps after we gave up, is not to be found by the next wait.
    while pthread_h.sem_trywait(&shared.wake) == 0:
        pass


cdef void join_left(Shared *shared) noexcept:
    """Give back what is left of the workers who have gone home."""
    cdef Worker *worker
    cdef Worker *following
    pthread_h.pthread_mutex_lock(&shared.lock)
    worker = shared.left
    shared.left = NULL
    pthread_h.pthread_mutex_unlock(&shared.lock)
    while worker != NULL:
        following = worker.next
        pthread_h.pthread_join(worker.thread, NULL)
        pthread_h.sem_destroy(&worker.wake)
        free(worker)
        worker = following


cdef void dismiss_all(Shared *shared) noexcept nogil:
    """End every worker.  None has a job any more."""
    cdef Worker *worker
    pthread_h.pthread_mutex_lock(&shared.lock)
    shared.over = True
    tell_progress(shared)
    worker = shared.idle
    while worker != NULL:
        pthread_h.sem_post(&worker.wake)
        worker = worker.next
    while shared.alive:
        shared.waiting_for_progress += 1
        pthread_h.pthread_cond_wait(&shared.progress, &shared.lock)
        shared.waiting_for_progress -= 1
    pthread_h.pthread_mutex_unlock(&shared.lock)


cdef inline void tell_progress(Shared *shared) noexcept nogil:
    if shared.waiting_for_progress:
        pthread_h.pthread_cond_broadcast(&shared.progress)


# The worker's side.

cdef void *work(void *argument) noexcept nogil:
    cdef Worker *worker = <Worker *>argument
    while wait_for_job(worker):
        do_job(worker, worker.job)
    return NULL


cdef bint wait_for_job(Worker *worker) noexcept nogil:
    """True with a job; False when it is time to go home."""
    cdef Shared *shared = worker.shared
    cdef timespec deadline
    cdef bint timed_out = False
    while True:
        pthread_h.pthread_mutex_lock(&shared.lock)
        if worker.job != NULL:
            pthread_h.pthread_mutex_unlock(&shared.lock)
            return True
        if (timed_out or shared.over) and leave(worker):
            pthread_h.pthread_mutex_unlock(&shared.lock)
            return False
        pthread_h.pthread_mutex_unlock(&shared.lock)
        deadline = timespec_from_seconds(monotonic_seconds() + IDLE_S)
        timed_out = pthread_h.sem_clockwait(&worker.wake, CLOCK_MONOTONIC, &deadline) < 0 and (
            errno != EINTR
        )


cdef bint leave(Worker *worker) noexcept nogil:
    """Out of the idle ones, under the lock; False if somebody has just taken it from there."""
    cdef Shared *shared = worker.shared
    cdef Worker **place = &shared.idle
    while place[0] != NULL and place[0] != worker:
        place = &place[0].next
    if place[0] == NULL:
        return False
    place[0] = worker.next
    worker.next = shared.left
    shared.left = worker
    shared.alive -= 1
    tell_progress(shared)
    return True


cdef void do_job(Worker *worker, Job *job) noexcept nogil:
    cdef char chunk[CHUNK_BYTES]
    cdef Notice counts
    cdef int result
    memset(&counts, 0, sizeof(counts))
    while True:
        result = call_until_done(job, chunk, &counts)
        if not job.multishot or result < 0 or (result == 0 and job.call == CALLS_RECV):
            tell(worker, job, result, NULL, True, &counts)
            return
        tell(worker, job, result, chunk if job.call == CALLS_RECV else NULL, False, &counts)
        call_again(worker.shared, job)


cdef void call_again(Shared *shared, Job *job) noexcept nogil:
    """Under the lock: either is_calling() sees it, or we see that we are interrupted."""
    pthread_h.pthread_mutex_lock(&shared.lock)
    job.calling = True
    pthread_h.pthread_mutex_unlock(&shared.lock)


cdef int call_until_done(Job *job, char *chunk, Notice *counts) noexcept nogil:
    """Call until it is done, has failed, or is interrupted: a result, or a negative errno."""
    cdef int interruption, result
    while True:
        interruption = aio_h.headrace_load(&job.interruption)
        if interruption == TO_CANCEL:
            return -ECANCELED
        if interruption == TO_ROTATE:
            return -EINTR
        result = call_once(job, chunk, counts)
        if result == -EINTR:
            continue
        if result == -EAGAIN:
            # The descriptor is not blocking, or somebody has made it so: wait beside it.
            result = wait_until_ready(job, counts)
            if result < 0 and result != -EINTR:
                return result
            continue
        if job.call == CALLS_ACCEPT and (result == -ECONNABORTED or result == -EPROTO):
            continue  # a connection that went away while it waited
        return result


cdef int call_once(Job *job, char *chunk, Notice *counts) noexcept nogil:
    cdef ssize_t result
    if job.call == CALLS_POLL:
        return wait_until_ready(job, counts)
    counts.calls += 1
    if job.call == CALLS_RECV:
        result = socket_h.recv(job.fd, chunk, CHUNK_BYTES, 0)
    elif job.call == CALLS_SEND:
        result = socket_h.send(job.fd, job.memory, job.length, socket_h.MSG_NOSIGNAL)
    else:
        result = socket_h.accept4(
            job.fd, NULL, NULL, socket_h.SOCK_NONBLOCK | socket_h.SOCK_CLOEXEC
        )
    return -errno if result < 0 else <int>result


cdef int wait_until_ready(Job *job, Notice *counts) noexcept nogil:
    """Block in poll(2): what it is ready for, or a negative errno."""
    cdef pollfd entry
    entry.fd = job.fd
    entry.events = <short>(
        (POLLIN if job.events & READABLE else 0) | (POLLOUT if job.events & WRITABLE else 0)
    )
    counts.polls += 1
    if poll(&entry, 1, -1) < 0:
        return -errno
    if entry.revents & POLLNVAL:
        return -EBADF
    if entry.revents & ~(POLLIN | POLLOUT):
        return job.events
    return (
        (READABLE if entry.revents & POLLIN else 0) | (WRITABLE if entry.revents & POLLOUT else 0)
    )


cdef void tell(
    Worker *worker, Job *job, int result, const char *chunk, bint last, Notice *counts,
) noexcept nogil:
    """Queue a notice; the last one makes the worker idle."""
    cdef Shared *shared = worker.shared
    cdef int number = -1
    cdef Notice *notice = new_notice(shared)
    pthread_h.pthread_mutex_lock(&shared.lock)
    job.calling = False
    if not last:
        while not shared.over and (
            job.pieces >= PIECES_MAX or (chunk != NULL and shared.buffer_count[0] == 0)
        ):
            job.held_back = True
            job.held_result = result
            shared.waiting_for_progress += 1
            pthread_h.pthread_cond_wait(&shared.progress, &shared.lock)
            shared.waiting_for_progress -= 1
        job.held_back = False
        if chunk != NULL and shared.buffer_count[0]:
            shared.buffer_count[0] -= 1
            number = shared.buffers[shared.buffer_count[0]]
            # OWNS: this buffer, until the notice is queued.
            pthread_h.pthread_mutex_unlock(&shared.lock)
            memcpy(shared.buffer_memory + number * shared.buffer_size, chunk, result)
            pthread_h.pthread_mutex_lock(&shared.lock)
    notice.job = job
    notice.result = result
    notice.buffer = number
    notice.last = last
    notice.calls = counts.calls
    notice.polls = counts.polls
    notice.next = NULL
    counts.calls = 0
    counts.polls = 0
    job.pieces += 1
    if shared.last == NULL:
        shared.first = notice
    else:
        shared.last.next = notice
    shared.last = notice
    if last:
        # From here on the job is the loop's alone.
        aio_h.headrace_store(&job.ended, 1)
        worker.job = NULL
        worker.next = shared.idle
        shared.idle = worker
    if shared.asleep:
        shared.asleep = False
        pthread_h.sem_post(&shared.wake)
    pthread_h.pthread_mutex_unlock(&shared.lock)


cdef Notice *new_notice(Shared *shared) noexcept nogil:
    """Memory is waited for: what was received must be told."""
    cdef Notice *notice = <Notice *>malloc(sizeof(Notice))
    while notice == NULL:
        poll(NULL, 0, 1)
        notice = <Notice *>malloc(sizeof(Notice))
    return notice
