"""Socket addresses: the socket module's tuples and paths <-> struct sockaddr."""

from libc.string cimport memcmp, memcpy, memset

from headrace.kernel.socket cimport (
    AF_INET, AF_INET6, AF_UNIX, INET6_ADDRSTRLEN, htonl, htons, inet_ntop, inet_pton, ntohl,
    ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, socklen_t,
)

import os


cdef int address_fill(int family, object address, sockaddr_storage *storage) except -1:
    """Write *address*, in the socket module's form, to *storage*; answer its length in bytes.

    Hosts must be numeric (resolve them first).  Answers 0 for what this cannot express (a
    family that it does not know): the caller then leaves the call to the socket module.

    Raises:
        OSError: the path is too long, the host not numeric.
        TypeError, OverflowError: as the socket module does.
    """
    memset(storage, 0, sizeof(sockaddr_storage))
    if family == AF_INET:
        return fill_inet(address, <sockaddr_in *>storage)
    if family == AF_INET6:
        return fill_inet6(address, <sockaddr_in6 *>storage)
    if family == AF_UNIX:
        return fill_unix(address, <sockaddr_un *>storage)
    return 0


cdef bint address_is_known(int family) noexcept:
    """Can this express the addresses of *family*?"""
    return family == AF_INET or family == AF_INET6 or family == AF_UNIX


cdef int address_fill_nowait(int family, object address, sockaddr_storage *storage) except -1:
    """address_fill() for what is plain: numeric, complete, of the exact types.

    Answers 0 for all else.  The socket module then looks a name up, or says what is wrong.
    """
    if not is_plain(family, address):
        return 0
    try:
        return address_fill(family, address, storage)
    except (OSError, OverflowError, UnicodeError):
        return 0


cdef bint is_plain(int family, object address) except -1:
    if family == AF_UNIX:
        return type(address) in (str, bytes) and len(address) > 0
    if type(address) is not tuple or len(address) < 2:
        return False
    if type(address[0]) is not str or type(address[1]) is not int:
        return False
    if family == AF_INET:
        return len(address) == 2
    # A zone ("%eth0") is looked up; a flow label has 20 bits.
    return (
        family == AF_INET6 and len(address) <= 4 and "%" not in address[0]
        and all([type(part) is int for part in address[2:]])
        and (len(address) == 2 or 0 <= address[2] <= 0xFFFFF)
    )


cdef class RecentAddress:
    """The last address that was converted: most datagrams come from, or go to, the same peer."""

    cdef object as_python(self, const sockaddr *raw, socklen_t length):
        """address_as_python(), or the same object as last time."""
        if length == 0 or length > sizeof(self.raw):
            return address_as_python(raw, length)
        if self.length != length or memcmp(&self.raw, raw, length) != 0:
            self.address = address_as_python(raw, length)
            memcpy(&self.raw, raw, length)
            self.length = length
        return self.address

    cdef socklen_t fill(self, int family, object address, sockaddr_storage *storage) except? 0:
        """address_fill_nowait(), without conversion for the object that as_python() has given."""
        if address is not self.address or self.length == 0 or self.raw.ss_family != family:
            return address_fill_nowait(family, address, storage)
        memcpy(storage, &self.raw, self.length)
        return self.length


cdef int fill_inet(object address, sockaddr_in *storage) except -1:
    host, port = address
    text = host.encode("ascii")
    storage.sin_family = AF_INET
    storage.sin_port = htons(port_number(port))
    if inet_pton(AF_INET, text, &storage.sin_addr) != 1:
        raise OSError(f"not a numeric IPv4 address: {host!r}")
    return sizeof(sockaddr_in)


cdef int fill_inet6(object address, sockaddr_in6 *storage) except -1:
    host = address[0].partition("%")[0]
    text = host.encode("ascii")
    storage.sin6_family = AF_INET6
    storage.sin6_port = htons(port_number(address[1]))
    if len(address) > 2:
        storage.sin6_flowinfo = htonl(address[2])
    if len(address) > 3:
        storage.sin6_scope_id = address[3]
    if inet_pton(AF_INET6, text, &storage.sin6_addr) != 1:
        raise OSError(f"not a numeric IPv6 address: {host!r}")
    return sizeof(sockaddr_in6)


cdef int fill_unix(object address, sockaddr_un *storage) except -1:
    path = os.fsencode(address)
    cdef Py_ssize_t length = len(path)
    # unix(7): an abstract name starts with NUL and is not terminated; a path is.
    abstract = path[:1] == b"\0"
    if length + (0 if abstract else 1) > <Py_ssize_t>sizeof(storage.sun_path):
        raise OSError(f"AF_UNIX path too long: {address!r}")
    storage.sun_family = AF_UNIX
    memcpy(storage.sun_path, <const char *>path, length)
    return <int>(sizeof(storage.sun_family) + length + (0 if abstract else 1))


cdef int port_number(object port) except -1:
    if not 0 <= port <= 65535:
        raise OverflowError("port must be 0-65535.")
    return port


cdef object address_as_python(const sockaddr *address, socklen_t length):
    """*address* in the socket module's form; None for a family that this does not know."""
    cdef char text[64]
    cdef const sockaddr_in *inet = <const sockaddr_in *>address
    cdef const sockaddr_in6 *inet6 = <const sockaddr_in6 *>address
    if length == 0:
        return None
    if address.sa_family == AF_INET:
        inet_ntop(AF_INET, &inet.sin_addr, text, INET6_ADDRSTRLEN)
        return text.decode("ascii"), ntohs(inet.sin_port)
    if address.sa_family == AF_INET6:
        inet_ntop(AF_INET6, &inet6.sin6_addr, text, INET6_ADDRSTRLEN)
        return (
            text.decode("ascii"), ntohs(inet6.sin6_port),
            ntohl(inet6.sin6_flowinfo), inet6.sin6_scope_id,
        )
    if address.sa_family == AF_UNIX:
        return unix_path(<const sockaddr_un *>address, length)
    return None


cdef object unix_path(const sockaddr_un *address, socklen_t length):
    cdef int size = <int>length - <int>sizeof(address.sun_family)
    if size <= 0:
        return ""
    path = <bytes>address.sun_path[:size]
    if path[:1] == b"\0":
        return path
    return os.fsdecode(path.partition(b"\0")[0])
