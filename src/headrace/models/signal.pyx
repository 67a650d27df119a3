"""Signal-driven I/O: the kernel sends the thread a signal when a descriptor becomes ready.

Facts.  F_SETOWN_EX names the thread, F_SETSIG a real-time signal instead of SIGIO, FIOASYNC
switches it on; the signal then carries the descriptor and what it is ready for, and signals
queue.  They speak of changes, as edge-triggered epoll does, one for each change.  A file has one
owner, in all processes that share it, and the signals outlive a close(2) if another reference
to the file is left.

What the obvious does wrong.  (1) A handler runs between any two instructions, and what it notes
can be lost between the check and the sleep; so the signals stay blocked, and sigtimedwait(2)
takes them from the queue.  It takes one per call: a signalfd(2) on the same queue takes a batch
with one read(2), and is asked first, which halves the calls under load and costs one call more
when idle.  (2) The queue is finite (RLIMIT_SIGPENDING, for all processes of a user together); a
signal that finds it full is lost, and plain SIGIO comes instead.  Then the queue is emptied, and
one poll(2) over everything tells what was lost.  The same is done when a thread begins to run
the loop.  (3) Blocked signals are inherited by threads and children: they are blocked only while
a thread runs the loop, and not while asyncio starts a child there (see loop/processes.py).  (4) A
descriptor that is owned already, by the loop of another thread or process, must not be taken away
from it.

Decision.  What sends no signals (event and process descriptors, terminals, the writing side of
Unix datagrams) and what sends them to others is watched by a helper, an edge-triggered epoll
instance, which poll(2) then watches beside the queue.  Nearly all loops never make one.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from headrace.core.operation cimport READABLE, WRITABLE
from headrace.core.statistics cimport (
    CALL_FCNTL, CALL_IOCTL, CALL_POLL, CALL_PPOLL, CALL_READ, CALL_RT_SIGTIMEDWAIT,
)
from headrace.kernel cimport signal as signal_h
from headrace.kernel cimport socket as socket_h
from headrace.kernel cimport unistd
from headrace.kernel.fork cimport fork_generation
from headrace.kernel.errno cimport EAGAIN, EINTR, errno
from headrace.kernel.errors cimport raise_os_error
from headrace.kernel.poll cimport (
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP, poll, pollfd, ppoll,
)
from headrace.kernel.real_time_signal cimport real_time_signal
from headrace.kernel.signal cimport siginfo_t, signalfd_siginfo, sigset_t
from headrace.kernel.thread cimport thread_token
from headrace.kernel.time cimport timespec, timespec_from_seconds
from headrace.models.reactor cimport ENDING, HANGUP, Readiness

from headrace.models.epoll_edge import EpollEdgeReadiness

cdef int EVERYTHING = POLLIN | POLLOUT | POLLPRI | POLLRDHUP


cdef class SignalReadiness(Readiness):
    name = "signal"
    stevens = "signal-driven"
    waits = "sigtimedwait() for a queued real-time signal (F_SETSIG)"
    system_calls = (
        "rt_sigtimedwait", "read", "poll", "ppoll", "fcntl", "ioctl", "recv", "send", "accept4",
        "recvmmsg", "sendto",
    )
    # While a thread runs the loop, it takes every SIGIO for the word that its queue is full.
    signals_needed = (signal_h.SIGIO,)
    capabilities = {**Readiness.capabilities, "edge_triggered": True}
    edge_triggered = True
    # A signal tells what was so when it was sent.
    certain = False
    # The end of a stream is one more signal that says "readable".
    tells_end = False

    def __cinit__(self):
        self.queue_fd = -1
        self.watches = NULL

    def __dealloc__(self):
        if self.queue_fd >= 0:
            unistd.close(self.queue_fd)
        free(self.watches)

    cpdef open(self):
        self.number = real_time_signal()
        signal_h.sigemptyset(&self.signals)
        signal_h.sigaddset(&self.signals, self.number)
        signal_h.sigaddset(&self.signals, signal_h.SIGIO)
        self.queue_fd = signal_h.signalfd(
            -1, &self.signals, signal_h.SFD_CLOEXEC | signal_h.SFD_NONBLOCK
        )
        if self.queue_fd < 0:
            raise_os_error(errno, "signalfd")
        self.bound_to = 0
        self.owner = 0
        self.generation = fork_generation()

    # Who runs the loop.

    cpdef bind(self):
        cdef sigset_t before
        cdef int fd, number
        if self.bound_to == thread_token():
            return
        signal_h.pthread_sigmask(signal_h.SIG_BLOCK, &self.signals, &before)
        signal_h.sigemptyset(&self.to_unblock)
        for number in (self.number, signal_h.SIGIO):
            if not signal_h.sigismember(&before, number):
                signal_h.sigaddset(&self.to_unblock, number)
        self.bound_to = thread_token()
        moved = self.owner != signal_h.headrace_thread_id()
        self.owner = signal_h.headrace_thread_id()
        for fd in range(self.size):
            if self.watches[fd] == WATCH_LATER:
                self.begin_late(fd)
            elif self.is_signalled(fd) and moved:
                self.set_owner(fd)
        self.look_at_all()

    cpdef unbind(self):
        if self.bound_to == thread_token():
            # What comes now finds the empty handler; bind() looks at everything.
            self.bound_to = 0
            signal_h.pthread_sigmask(signal_h.SIG_UNBLOCK, &self.to_unblock, NULL)

    cdef int set_owner(self, int fd) noexcept:
        cdef signal_h.f_owner_ex owner
        owner.type = signal_h.F_OWNER_TID
        owner.pid = self.owner
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        return signal_h.owner_ex(fd, signal_h.F_SETOWN_EX, &owner)

    # What is watched.

    cdef bint is_signalled(self, int fd) noexcept:
        return fd < self.size and WATCH_BY_SIGNAL <= self.watches[fd] <= WATCH_PIPE_BY_SIGNAL

    cpdef add(self, int fd, int events):
        if fd < self.size and self.watches[fd] == WATCH_NOT_BY_SIGNAL:
            self.watches[fd] = WATCH_NONE  # also where the helper refuses it
            self.use_helper(fd)
        elif self.bound_to:
            self.begin(fd)
            # What is ready already sends no signal.
            if self.is_signalled(fd):
                self.look_at(fd)
        elif is_pipe(fd) or sends_signals(fd):
            self.set_watch(fd, WATCH_LATER)
        else:
            # The helper needs no thread, and who is refused by it is to hear of it here.
            self.use_helper(fd)

    cpdef modify(self, int fd, int events):
        pass

    cpdef remove(self, int fd):
        if fd >= self.size:
            return
        if self.is_signalled(fd):
            self.refuse_signals(fd)
        elif self.watches[fd] == WATCH_BY_HELPER:
            self.helped -= 1
            self.helper.remove(fd)
        self.watches[fd] = WATCH_NONE

    cdef int refuse_signals(self, int fd) noexcept:
        """The file may live on in another process; and its next owner is to find it free.

        If it is still ours: it may have been closed, and the number be the file of another loop.
        """
        cdef int off = 0
        if self.owner_of(fd) != self.owner:
            return 0
        self.statistics.counters.system_calls[CALL_IOCTL] += 1
        signal_h.ioctl(fd, signal_h.FIOASYNC, &off)
        return self.give_up(fd)

    cdef int owner_of(self, int fd) noexcept:
        """The thread or process that is sent the signals, 0 for none; -1 with errno."""
        cdef signal_h.f_owner_ex owner
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        return owner.pid if signal_h.owner_ex(fd, signal_h.F_GETOWN_EX, &owner) == 0 else -1

    cdef int give_up(self, int fd) noexcept:
        cdef signal_h.f_owner_ex nobody
        nobody.type = signal_h.F_OWNER_TID
        nobody.pid = 0
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        return signal_h.owner_ex(fd, signal_h.F_SETOWN_EX, &nobody)

    cpdef expect_writable(self, int fd):
        """Let the helper tell: a Unix socket signals room only to those whom it has refused."""
        if not is_unix(fd):
            return
        if self.is_signalled(fd):
            # In this order: the helper may refuse it, and who reads it is to be told further.
            self.use_helper(fd)
            self.refuse_signals(fd)
        elif fd >= self.size or self.watches[fd] == WATCH_NONE:
            self.set_watch(fd, WATCH_NOT_BY_SIGNAL)

    cdef int set_watch(self, int fd, Watch watch) except -1:
        cdef unsigned char *grown
        cdef int size
        if fd >= self.size:
            size = max(fd + 1, self.size * 2, 64)
            grown = <unsigned char *>realloc(self.watches, size)
            if grown == NULL:
                raise MemoryError()
            memset(grown + self.size, WATCH_NONE, size - self.size)
            self.watches = grown
            self.size = size
        self.watches[fd] = watch
        return 0

    cdef int begin(self, int fd) except -1:
        cdef bint pipe = is_pipe(fd)
        if (pipe or sends_signals(fd)) and self.ask_for_signals(fd):
            return self.set_watch(fd, WATCH_PIPE_BY_SIGNAL if pipe else WATCH_BY_SIGNAL)
        return self.use_helper(fd)

    cdef int begin_late(self, int fd) except -1:
        """What cannot be watched any more is the failure of who waits for it, not the loop's."""
        try:
            return self.begin(fd)
        except OSError as error:
            self.watches[fd] = WATCH_NONE
            return self.report_refused(fd, error.errno)

    cdef bint ask_for_signals(self, int fd) except -1:
        """False where the descriptor has an owner already, or sends nothing."""
        cdef int on = 1
        cdef int owner = self.owner_of(fd)
        if owner == -1:
            raise_os_error(errno, f"signal cannot watch descriptor {fd}")
        if owner != 0 and owner != self.owner:
            return False
        self.statistics.counters.system_calls[CALL_FCNTL] += 1
        if self.set_owner(fd) < 0 or signal_h.set_signal(fd, signal_h.F_SETSIG, self.number) < 0:
            raise_os_error(errno, f"signal cannot watch descriptor {fd}")
        self.statistics.counters.system_calls[CALL_IOCTL] += 1
        if signal_h.ioctl(fd, signal_h.FIOASYNC, &on) == 0:
            return True
        self.give_up(fd)
        return False

    cdef int use_helper(self, int fd) except -1:
        if self.helper is None:
            helper = EpollEdgeReadiness()
            helper.attach(self.ready, self.table, self.statistics)
            helper.open()
            self.helper = helper
        self.helper.add(fd, READABLE | WRITABLE)
        self.helped += 1
        return self.set_watch(fd, WATCH_BY_HELPER)

    # Looking, where no signal tells.  Who waits to write tries again in any case: a socket promises
    # a signal for room only to those whom it has refused while it was sending them signals.

    cdef int look_at(self, int fd) except -1:
        cdef pollfd entry
        entry.fd = fd
        entry.events = <short>EVERYTHING
        self.statistics.counters.system_calls[CALL_POLL] += 1
        entry.revents = 0
        poll(&entry, 1, 0)
        return self.report(fd, as_events(entry.revents) | WRITABLE)

    cdef int look_at_all(self) except -1:
        cdef pollfd *entries = <pollfd *>realloc(NULL, max(self.size, 1) * sizeof(pollfd))
        cdef int fd, index
        cdef int count = 0
        if entries == NULL:
            raise MemoryError()
        try:
            for fd in range(self.size):
                if self.is_signalled(fd):
                    entries[count].fd = fd
                    entries[count].events = <short>EVERYTHING
                    entries[count].revents = 0
                    count += 1
            self.statistics.counters.system_calls[CALL_POLL] += 1
            poll(entries, count, 0)
            for index in range(count):
                self.report(entries[index].fd, as_events(entries[index].revents) | WRITABLE)
        finally:
            free(entries)
        return 0

    # Waiting.

    cpdef wait(self, double timeout_s):
        cdef int count
        if self.bound_to != thread_token():
            self.bind()
        count = self.take_batches()
        if count == 0 and timeout_s != 0:
            if self.helped:
                self.wait_for_both(timeout_s)
            else:
                self.wait_for_one(timeout_s)
        elif self.helped:
            self.helper.wait(0)

    cdef int take_batches(self) except -1:
        """All that stands in the queue belongs to this turn, within reason."""
        cdef int count = self.take_batch()
        cdef int taken = count
        while count == SIGNALS_PER_CALL and taken < SIGNALS_PER_TURN:
            count = self.take_batch()
            taken += count
        return taken

    cdef int take_batch(self) except -1:
        """Report what stands in the queue, or the first of it; how many signals that were."""
        cdef signalfd_siginfo *info
        cdef int index
        cdef ssize_t size
        self.statistics.counters.system_calls[CALL_READ] += 1
        size = unistd.read(self.queue_fd, self.batch, sizeof(self.batch))
        if size < 0:
            if errno != EAGAIN and errno != EINTR:
                raise_os_error(errno, "signalfd")
            return 0
        for index in range(<int>(size // <ssize_t>sizeof(signalfd_siginfo))):
            info = &self.batch[index]
            if info.ssi_signo == <unsigned int>signal_h.SIGIO:
                self.overflowed()
                return 1
            self.tell(info.ssi_fd, <int>info.ssi_band)
        return <int>(size // <ssize_t>sizeof(signalfd_siginfo))

    cdef int wait_for_one(self, double timeout_s) except -1:
        cdef siginfo_t info
        cdef timespec timeout
        cdef timespec *limit = NULL
        cdef int number
        if timeout_s > 0:
            timeout = timespec_from_seconds(timeout_s)
            limit = &timeout
        self.statistics.counters.system_calls[CALL_RT_SIGTIMEDWAIT] += 1
        with nogil:
            number = signal_h.sigtimedwait(&self.signals, &info, limit)
        if number < 0:
            if errno != EAGAIN and errno != EINTR:
                raise_os_error(errno, "sigtimedwait")
            return 0
        if number == signal_h.SIGIO:
            return self.overflowed()
        return self.tell(
            signal_h.headrace_siginfo_fd(&info), <int>signal_h.headrace_siginfo_band(&info)
        )

    cdef int tell(self, int fd, int band) except -1:
        if fd < self.size and self.watches[fd] == WATCH_PIPE_BY_SIGNAL:
            # To a writer, "room" and "nobody reads any more" are one signal.
            return self.report(fd, READABLE | WRITABLE)
        return self.report(fd, as_events(band))

    cdef int wait_for_both(self, double timeout_s) except -1:
        """For a signal, or for what the helper watches."""
        cdef pollfd entries[2]
        cdef timespec timeout
        cdef timespec *limit = NULL
        cdef int count
        entries[0].fd = self.queue_fd
        entries[1].fd = self.helper.epoll_fd
        entries[0].events = entries[1].events = <short>POLLIN
        if timeout_s > 0:
            timeout = timespec_from_seconds(timeout_s)
            limit = &timeout
        self.statistics.counters.system_calls[CALL_PPOLL] += 1
        with nogil:
            count = ppoll(entries, 2, limit, NULL)
        if count < 0:
            if errno != EINTR:
                raise_os_error(errno, "poll")
            return 0
        if count and entries[0].revents:
            self.take_batch()
        if count and entries[1].revents:
            self.helper.wait(0)
        return 0

    cdef int overflowed(self) except -1:
        """Signals were lost.  Empty the queue first: what comes after that is in it, or is seen."""
        self.statistics.counters.completion_overflows += 1
        while True:
            self.statistics.counters.system_calls[CALL_READ] += 1
            if unistd.read(self.queue_fd, self.batch, sizeof(self.batch)) <= 0:
                break
        return self.look_at_all()

    cpdef close(self):
        cdef int fd
        self.unbind()
        if self.generation == fork_generation():  # else they are the parent's
            for fd in range(self.size):
                self.remove(fd)
        if self.helper is not None:
            self.helper.close()
            self.helper = None
            self.helped = 0
        if self.queue_fd >= 0:
            unistd.close(self.queue_fd)
            self.queue_fd = -1
        if self.size:
            memset(self.watches, WATCH_NONE, self.size)


cdef int as_events(int band) noexcept:
    return (
        (READABLE if band & POLLIN else 0)
        | (WRITABLE if band & POLLOUT else 0)
        | (HANGUP if band & (POLLERR | POLLHUP | POLLNVAL) else 0)
        | (ENDING if band & (POLLRDHUP | POLLPRI) else 0)
    )


cdef bint sends_signals(int fd) noexcept:
    """Is this a socket that sends a signal for every change that matters?"""
    cdef int domain = socket_option(fd, socket_h.SO_DOMAIN)
    if domain == socket_h.AF_UNIX:
        # A datagram's sender is not told when the receiver's queue has room again.
        return socket_option(fd, socket_h.SO_TYPE) != socket_h.SOCK_DGRAM
    return domain == socket_h.AF_INET or domain == socket_h.AF_INET6


cdef bint is_unix(int fd) noexcept:
    return socket_option(fd, socket_h.SO_DOMAIN) == socket_h.AF_UNIX


cdef bint is_pipe(int fd) noexcept:
    return unistd.fcntl(fd, unistd.F_GETPIPE_SZ) >= 0


cdef int socket_option(int fd, int option) noexcept:
    cdef int value = -1
    cdef socket_h.socklen_t size = sizeof(value)
    return value if socket_h.getsockopt(
        fd, socket_h.SOL_SOCKET, option, &value, &size
    ) == 0 else -1
