from headrace.kernel.socket cimport sockaddr, sockaddr_storage, socklen_t

cdef int address_fill(int family, object address, sockaddr_storage *storage) except -1
cdef object address_as_python(const sockaddr *address, socklen_t length)
