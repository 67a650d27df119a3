"""Which thread is this?  A number that no other thread of the process has or will have.

Fact: the C library gives pthread_self() of a thread that has ended to the next one, and the
kernel its thread id.  A ring that is bound to the first thread would take the second for it.
"""

cdef extern from *:
    """
    static __thread unsigned long headrace_thread_token = 0;
    static unsigned long headrace_thread_count = 0;

    /* Callers hold the GIL, which guards the counter. */
    static unsigned long headrace_token_of_this_thread(void) {
        if (headrace_thread_token == 0)
            headrace_thread_token = ++headrace_thread_count;
        return headrace_thread_token;
    }
    """
    unsigned long headrace_token_of_this_thread() noexcept


cdef unsigned long thread_token() noexcept:
    return headrace_token_of_this_thread()
