from headrace.kernel.signal cimport sigset_t, signalfd_siginfo
from headrace.models.epoll cimport EpollReadiness
from headrace.models.reactor cimport Readiness

cdef enum:
    SIGNALS_PER_CALL = 64
    SIGNALS_PER_TURN = 1024

# How a descriptor is watched.
cdef enum Watch:
    WATCH_NONE = 0
    WATCH_BY_SIGNAL = 1
    WATCH_PIPE_BY_SIGNAL = 2
    WATCH_BY_HELPER = 3
    WATCH_NOT_BY_SIGNAL = 4  # somebody asked for what signals do not tell
    WATCH_LATER = 5      # no thread runs the loop yet


cdef class SignalReadiness(Readiness):
    cdef int number                   # of the real-time signal
    cdef sigset_t signals             # that one, and SIGIO: "the queue is full"
    cdef sigset_t to_unblock          # those of them that the bound thread had not blocked itself
    cdef int queue_fd                 # of signalfd(2)
    cdef unsigned long bound_to       # token of the thread that runs the loop; 0 for none
    cdef int owner                    # kernel's id of the thread that is sent the signals
    cdef unsigned char *watches       # by descriptor
    cdef int size
    cdef signalfd_siginfo batch[SIGNALS_PER_CALL]
    cdef EpollReadiness helper        # for what sends no signals, or sends them to others
    cdef int helped
    cdef unsigned long generation     # of forks, when it was opened

    cdef int set_owner(self, int fd) noexcept
    cdef int give_up(self, int fd) noexcept
    cdef bint is_signalled(self, int fd) noexcept
    cdef int tell(self, int fd, int band) except -1
    cdef int set_watch(self, int fd, Watch watch) except -1
    cdef int begin(self, int fd) except -1
    cdef int begin_late(self, int fd) except -1
    cdef int refuse_signals(self, int fd) noexcept
    cdef int owner_of(self, int fd) noexcept
    cdef bint ask_for_signals(self, int fd) except -1
    cdef int use_helper(self, int fd) except -1
    cdef int look_at(self, int fd) except -1
    cdef int look_at_all(self) except -1
    cdef int take_batches(self) except -1
    cdef int take_batch(self) except -1
    cdef int wait_for_one(self, double timeout_s) except -1
    cdef int wait_for_both(self, double timeout_s) except -1
    cdef int overflowed(self) except -1
