"""What no loop owns of POSIX AIO: its requests, the signal, and where that finds a loop.

glibc may still write to a request, and a signal may still name one, when the loop that began it is
closed: so requests and inboxes are never freed, but used again.  A request belongs to one inbox
for ever, and with it to one loop at a time.  Signals come late, when the result was taken without
them: one that pushed the request to the stack of a loop that no longer has it would keep it from
being pushed to the stack of the loop that has.

So a signal brings, in the low bits of the request's address, which use of the request it is of.
That tells one more thing: where glibc has written EAGAIN over the result because the queue was
full, there is no signal; where the read or write itself said EAGAIN, there is one.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from headrace.kernel cimport aio as aio_h
from headrace.kernel cimport pthread as pthread_h
from headrace.kernel cimport signal as signal_h
from headrace.kernel.errno cimport EINPROGRESS
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.real_time_signal cimport reserve_signal
from headrace.kernel.time cimport nanosleep, timespec, timespec_from_seconds
from headrace.models.thread_limit import THREADS_MAX as _THREADS_MAX
from headrace.models.workers cimport Shared

cdef int THREADS_MAX = _THREADS_MAX
cdef double END_POLL_S = 50e-6

cdef int completion_signal = 0
# In a forked child glibc counts on threads that are the parent's.
cdef unsigned long prepared_generation = 0
cdef Inbox *free_inboxes = NULL
cdef int made_requests = 0
# Of all loops: each has a thread of glibc's, which is never to keep one in its queue.
cdef int running_requests = 0


cdef int prepare_process() except -1:
    """Before the first request of the process: its signal, and how many threads glibc may have.

    0 in a child of a process that has done so: there glibc never does a request.
    """
    global completion_signal, prepared_generation
    if completion_signal == 0:
        completion_signal = reserve_signal("the model aio")
        prepared_generation = fork_generation()
        aio_h.headrace_install_info_handler(completion_signal, on_completion)
        aio_h.headrace_aio_threads(THREADS_MAX)
    return prepared_generation == fork_generation()


cdef bint unblock_completions() noexcept:
    """In this thread, which runs a loop; True if it blocked them.

    Programs that take signals in one thread block all of them in all others.
    """
    cdef signal_h.sigset_t signals, before
    signal_h.sigemptyset(&signals)
    signal_h.sigaddset(&signals, completion_signal)
    signal_h.pthread_sigmask(signal_h.SIG_UNBLOCK, &signals, &before)
    return signal_h.sigismember(&before, completion_signal) == 1


cdef void block_completions() noexcept:
    cdef signal_h.sigset_t signals
    signal_h.sigemptyset(&signals)
    signal_h.sigaddset(&signals, completion_signal)
    signal_h.pthread_sigmask(signal_h.SIG_BLOCK, &signals, NULL)


cdef void on_completion(int number, aio_h.siginfo_t *info, void *context) noexcept nogil:
    """In a signal handler, in whichever thread: nothing but atomics and sem_post(3)."""
    cdef Request *request
    cdef Inbox *inbox
    cdef Shared *shared
    cdef size_t value
    if not aio_h.headrace_is_of_aio(info):
        return
    value = <size_t>aio_h.headrace_siginfo_pointer(info)
    request = <Request *>(value - value % TAGS)
    aio_h.headrace_store(&request.told, value % TAGS)
    inbox = request.inbox
    aio_h.headrace_add(&inbox.handlers, 1)
    shared = <Shared *>aio_h.headrace_load_pointer(&inbox.shared)
    if shared != NULL:
        push(inbox, request)
        if aio_h.headrace_load(&shared.asleep):
            pthread_h.sem_post(&shared.wake)
    aio_h.headrace_add(&inbox.handlers, -1)


cdef void push(Inbox *inbox, Request *request) noexcept nogil:
    """Once, until it is taken: a late signal may find it there already."""
    if aio_h.headrace_exchange(&request.is_pushed, 1) == 0:
        aio_h.headrace_push(&inbox.done, &request.next_done, request)


cdef Request *take_done(Inbox *inbox) noexcept:
    """What has been pushed, in the order it came, linked by `next_done`."""
    cdef Request *request = <Request *>aio_h.headrace_take_all(&inbox.done)
    cdef Request *first = NULL
    cdef Request *following
    while request != NULL:  # the last one pushed stands first: turn them round
        following = <Request *>request.next_done
        request.next_done = first
        first = request
        request = following
    return first


cdef void begin(
    Request *request, void *operation, int connection, int fd, bint is_read,
) noexcept:
    request.connection = connection
    request.operation = operation
    request.fd = fd
    request.is_read = is_read
    request.is_running = True
    request.tag = (request.tag + 1) % TAGS
    aio_h.headrace_store(&request.told, -1)


cdef bint is_told(Request *request) noexcept:
    """Has the signal of this use come?"""
    return aio_h.headrace_load(&request.told) == request.tag


cdef int ask_for(Request *request, size_t length) noexcept:
    """Hand it to glibc: 0, or -1 where that has no memory or no thread for it."""
    aio_h.headrace_aio_prepare(
        &request.block, request.fd, request.memory, length, completion_signal,
        <char *>request + request.tag,
    )
    if request.is_read:
        return aio_h.aio_read(&request.block)
    return aio_h.aio_write(&request.block)


cdef Inbox *new_inbox(void *shared) except NULL:
    global free_inboxes
    cdef Inbox *inbox = free_inboxes
    if inbox != NULL:
        # `handlers` is left alone: one that has read where to push may count itself just now.
        free_inboxes = inbox.next
    else:
        inbox = <Inbox *>malloc(sizeof(Inbox))
        if inbox == NULL:
            raise MemoryError()
        memset(inbox, 0, sizeof(Inbox))
    aio_h.headrace_store_pointer(&inbox.shared, shared)
    return inbox


cdef void give_inbox_back(Inbox *inbox) noexcept:
    """No signal reaches its loop any more, and what some have pushed is nobody's."""
    global free_inboxes
    cdef Request *request
    cdef Request *following
    aio_h.headrace_store_pointer(&inbox.shared, NULL)
    while aio_h.headrace_load(&inbox.handlers):
        pause(END_POLL_S)
    request = <Request *>aio_h.headrace_take_all(&inbox.done)
    while request != NULL:
        following = <Request *>request.next_done  # before it may be pushed again
        aio_h.headrace_store(&request.is_pushed, 0)
        request = following
    inbox.next = free_inboxes
    free_inboxes = inbox


cdef bint is_room_for_one() noexcept:
    return running_requests < THREADS_MAX


cdef int count_made() noexcept:
    return made_requests


cdef Request *new_request(Inbox *inbox) except NULL:
    global made_requests, running_requests
    cdef Request *request = inbox.free_requests
    if request != NULL:
        inbox.free_requests = request.next
        request.looks = 0
        request.doubts = 0
        running_requests += 1
        return request
    if posix_memalign(<void **>&request, TAGS, sizeof(Request)):
        raise MemoryError()
    memset(request, 0, sizeof(Request))
    request.read_memory = <char *>malloc(READ_BYTES)
    if request.read_memory == NULL:
        free(request)
        raise MemoryError()
    request.inbox = inbox
    made_requests += 1
    running_requests += 1
    return request


cdef void give_request_back(Request *request) noexcept:
    global running_requests
    running_requests -= 1
    request.operation = NULL
    request.is_running = False
    request.next = request.inbox.free_requests
    request.inbox.free_requests = request


cdef void wait_for(Request *request) noexcept:
    """Until glibc is done with it; it has been told to be."""
    while aio_h.aio_error(&request.block) == EINPROGRESS:
        pause(END_POLL_S)


cdef void pause(double duration_s) noexcept:
    cdef timespec duration = timespec_from_seconds(duration_s)
    with nogil:
        nanosleep(&duration, NULL)
