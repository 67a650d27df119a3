"""<signal.h>, <sys/signalfd.h>, and the parts of <fcntl.h> that are about SIGIO."""

from libc.stdint cimport int32_t, uint32_t
from headrace.kernel.time cimport timespec

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <sys/ioctl.h>
    #include <sys/signalfd.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static int headrace_real_time_signal_min(void) { return SIGRTMIN; }
    static int headrace_real_time_signal_max(void) { return SIGRTMAX; }
    static int headrace_thread_id(void) { return (int)syscall(SYS_gettid); }

    static int headrace_siginfo_fd(const siginfo_t *info) { return info->si_fd; }
    static long headrace_siginfo_band(const siginfo_t *info) { return info->si_band; }

    /* Without SA_RESTART, so that it interrupts what a thread waits in. */
    static void headrace_ignore_signal(int number) { (void)number; }
    static int headrace_is_default(int number) {
        struct sigaction known;
        return sigaction(number, NULL, &known) == 0 && known.sa_handler == SIG_DFL;
    }
    static int headrace_install_empty_handler(int number) {
        struct sigaction action = {.sa_handler = headrace_ignore_signal, .sa_flags = 0};
        return sigaction(number, &action, NULL);
    }
    """
    ctypedef struct sigset_t:
        pass

    ctypedef struct siginfo_t:
        int si_signo
        int si_code

    struct signalfd_siginfo:
        uint32_t ssi_signo
        int32_t ssi_code
        int32_t ssi_fd
        uint32_t ssi_band

    struct f_owner_ex:
        int type
        int pid

    int SIGIO, SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK
    int SFD_CLOEXEC, SFD_NONBLOCK
    int F_SETOWN_EX, F_GETOWN_EX, F_SETSIG, F_OWNER_TID, FIOASYNC

    int headrace_real_time_signal_min()
    int headrace_real_time_signal_max()
    int headrace_thread_id()
    int headrace_siginfo_fd(const siginfo_t *info)
    long headrace_siginfo_band(const siginfo_t *info)
    bint headrace_is_default(int number)
    int headrace_install_empty_handler(int number)

    int sigemptyset(sigset_t *signals)
    int sigfillset(sigset_t *signals)
    int sigaddset(sigset_t *signals, int number)
    int sigdelset(sigset_t *signals, int number)
    int sigismember(const sigset_t *signals, int number)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
    int sigtimedwait(const sigset_t *signals, siginfo_t *info, const timespec *timeout)
    int signalfd(int fd, const sigset_t *signals, int flags)
    int owner_ex "fcntl"(int fd, int command, f_owner_ex *owner)
    int set_signal "fcntl"(int fd, int command, int number)
    int ioctl(int fd, unsigned long request, int *argument)
