"""<aio.h>: POSIX asynchronous I/O, as glibc does it, with threads."""

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <aio.h>
    #include <signal.h>
    #include <string.h>

    static void headrace_aio_prepare(struct aiocb *block, int fd, void *memory, size_t length,
                                     int number, void *value) {
        memset(block, 0, sizeof(*block));
        block->aio_fildes = fd;
        block->aio_buf = memory;
        block->aio_nbytes = length;
        block->aio_sigevent.sigev_notify = SIGEV_SIGNAL;
        block->aio_sigevent.sigev_signo = number;
        block->aio_sigevent.sigev_value.sival_ptr = value;
    }
    static void headrace_aio_threads(int count) {
        struct aioinit wish;
        memset(&wish, 0, sizeof(wish));
        wish.aio_threads = count;
        wish.aio_num = 64;  /* how many to expect: it grows */
        wish.aio_idle_time = 1;
        aio_init(&wish);
    }
    static int headrace_is_of_aio(const siginfo_t *info) { return info->si_code == SI_ASYNCIO; }
    static void *headrace_siginfo_pointer(const siginfo_t *info) {
        return info->si_value.sival_ptr;
    }
    /* A stack that signal handlers push to and one thread empties. */
    static void headrace_push(void **stack, void **place_of_next, void *entry) {
        void *first = __atomic_load_n(stack, __ATOMIC_RELAXED);
        do {
            *place_of_next = first;
        } while (!__atomic_compare_exchange_n(stack, &first, entry, 0, __ATOMIC_SEQ_CST,
                                              __ATOMIC_RELAXED));
    }
    static void *headrace_take_all(void **stack) {
        return __atomic_exchange_n(stack, NULL, __ATOMIC_ACQUIRE);
    }
    static void headrace_add(int *count, int step) {
        __atomic_add_fetch(count, step, __ATOMIC_SEQ_CST);
    }
    static void headrace_store(int *place, int value) {
        __atomic_store_n(place, value, __ATOMIC_SEQ_CST);
    }
    static int headrace_exchange(int *place, int value) {
        return __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST);
    }
    static int headrace_load(const int *count) { return __atomic_load_n(count, __ATOMIC_SEQ_CST); }
    static void *headrace_load_pointer(void **place) {
        return __atomic_load_n(place, __ATOMIC_SEQ_CST);
    }
    static void headrace_store_pointer(void **place, void *value) {
        __atomic_store_n(place, value, __ATOMIC_SEQ_CST);
    }
    static int headrace_install_info_handler(int number,
                                             void (*handler)(int, siginfo_t *, void *)) {
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
        return sigaction(number, &action, NULL);
    }
    """
    ctypedef struct siginfo_t:
        pass

    struct aiocb:
        pass

    int AIO_CANCELED, AIO_NOTCANCELED, AIO_ALLDONE

    int aio_read(aiocb *block)
    int aio_write(aiocb *block)
    int aio_error(const aiocb *block)
    ssize_t aio_return(aiocb *block)
    int aio_cancel(int fd, aiocb *block)

    void headrace_aio_prepare(
        aiocb *block, int fd, void *memory, size_t length, int number, void *value
    )
    void headrace_aio_threads(int count)
    bint headrace_is_of_aio(const siginfo_t *info)
    void *headrace_siginfo_pointer(const siginfo_t *info)
    void headrace_push(void **stack, void **place_of_next, void *entry)
    void *headrace_take_all(void **stack)
    void headrace_add(int *count, int step)
    int headrace_load(const int *count)
    void headrace_store(int *place, int value)
    int headrace_exchange(int *place, int value)
    void *headrace_load_pointer(void **place)
    void headrace_store_pointer(void **place, void *value)
    int headrace_install_info_handler(
        int number, void (*handler)(int, siginfo_t *, void *) noexcept nogil
    )
