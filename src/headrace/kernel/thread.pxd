cdef unsigned long thread_token() noexcept
