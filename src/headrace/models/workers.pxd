from headrace.core.buffer_pool cimport BufferPool
from headrace.kernel.pthread cimport pthread_cond_t, pthread_mutex_t, pthread_t, sem_t

cdef enum:
    # A signal that came just before the call was lost: so often it is sent again.
    INTERRUPT_AGAIN_US = 1000


# Why a worker is interrupted.
cdef enum Interruption:
    GOES_ON = 0
    TO_CANCEL = 1
    TO_ROTATE = 2     # others have waited long enough for a thread

# What a worker is to call.
cdef enum Call:
    CALLS_POLL
    CALLS_RECV
    CALLS_SEND
    CALLS_ACCEPT


# One operation for one thread.  The model makes it and frees it, after its last notice.
cdef struct Job:
    Call call
    int fd
    int events                 # of poll(2)
    bint multishot             # recv and accept go on until they are told not to
    const char *memory         # BORROWS: the operation's, which is in flight
    size_t length
    int pieces                 # told and not yet taken; guarded by the lock
    bint calling               # its worker may use the descriptor; guarded by the lock
    bint held_back             # its worker waits until the loop has listened; likewise
    int held_result            # what it has to tell then
    int ended                  # its last notice is queued
    int interruption           # set by the model, read by the worker
    double since_s             # when it was given to its thread
    void *operation            # BORROWS: in flight as long as the job lives
    Worker *worker             # NULL while it waits for one
    Job *next                  # in the queue of those that wait
    Job *previous


# What a worker has to say: a piece of data, a connection, or the end.
cdef struct Notice:
    Job *job
    int result
    int buffer                 # its number, or -1
    bint last
    int calls                  # system calls since the last notice: of the job's kind, and poll(2)
    int polls
    Notice *next


cdef struct Worker:
    pthread_t thread
    sem_t wake
    Shared *shared
    Job *job                   # guarded by the lock; NULL when idle
    Worker *next               # in the stack of the idle, or of those who have left


# What the loop's thread and the workers share.
cdef struct Shared:
    pthread_mutex_t lock
    pthread_cond_t progress    # a buffer has come back, a notice was taken, or it is over
    sem_t wake
    int asleep                 # the loop's thread waits for `wake`
    void **also                # BORROWS: something else to wake up for; or NULL
    bint over
    int waiting_for_progress
    Notice *first
    Notice *last
    Worker *idle
    Worker *left
    int alive
    int *buffers               # BORROWS: the pool's stack of idle buffers
    int *buffer_count
    char *buffer_memory
    size_t buffer_size


cdef class SharedBufferPool(BufferPool):
    cdef Shared *shared        # OWNS
    cdef unsigned long generation

    cdef void begin(self) noexcept
    cdef bint has_workers(self) noexcept
    cdef void begin_anew(self) noexcept


cdef bint start_worker(Shared *shared, Job *job) noexcept
cdef void give(Shared *shared, Worker *worker, Job *job) noexcept
cdef Worker *take_idle(Shared *shared) noexcept
cdef void interrupt(Job *job, Interruption why) noexcept
cdef bint cancel_at_once(Job *job, double limit_s) noexcept
cdef bint is_calling(Job *job) noexcept
cdef Notice *take_notices(Shared *shared) noexcept
cdef void sleep_until_notice(Shared *shared, double timeout_s) noexcept nogil
cdef void join_left(Shared *shared) noexcept
cdef void dismiss_all(Shared *shared) noexcept nogil
