from headrace.kernel.socket cimport sockaddr, sockaddr_storage, socklen_t


cdef class RecentAddress:
    cdef sockaddr_storage raw
    cdef socklen_t length
    cdef object address

    cdef object as_python(self, const sockaddr *raw, socklen_t length)
    cdef socklen_t fill(self, int family, object address, sockaddr_storage *storage) except? 0


cdef bint address_is_known(int family) noexcept
cdef int address_fill(int family, object address, sockaddr_storage *storage) except -1
cdef int address_fill_nowait(int family, object address, sockaddr_storage *storage) except -1
cdef object address_as_python(const sockaddr *address, socklen_t length)
