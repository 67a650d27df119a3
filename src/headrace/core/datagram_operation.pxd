from libc.stdint cimport uint32_t

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport Operation, Outcome
from headrace.core.statistics cimport Counters
from headrace.kernel.address cimport RecentAddress
from headrace.kernel.socket cimport iovec, mmsghdr, sockaddr_storage, socklen_t

cdef enum:
    DATAGRAMS_PER_CALL = 32
    DATAGRAM_BYTES_MAX = 256 * 1024
    # A record: see below.  The address is an IPv4 or IPv6 one, the datagram at most UDP's largest.
    RECORD_ADDRESS_BYTES = 32
    RECORD_HEAD_BYTES = 16 + RECORD_ADDRESS_BYTES
    RECORD_BYTES_MAX = RECORD_HEAD_BYTES + 65536


# What stands before a datagram in a buffer that a completion model has received it into; then
# come RECORD_ADDRESS_BYTES for the address, and the bytes.  io_uring writes it so.
cdef struct Record:
    uint32_t address_length
    uint32_t control_length
    uint32_t payload_length
    uint32_t flags


cdef class DatagramBatch:
    cdef char *memory             # OWNS: unmapped in __dealloc__
    cdef mmsghdr messages[DATAGRAMS_PER_CALL]
    cdef iovec pieces[DATAGRAMS_PER_CALL]
    cdef sockaddr_storage addresses[DATAGRAMS_PER_CALL]

    cdef int receive(self, int fd) noexcept


cdef class ReceiveDatagramsOperation(Operation):
    cdef DatagramBatch batch
    cdef BufferPool records       # of the model's, where it makes records
    cdef RecentAddress recent
    cdef list arrived             # taken from the socket, and not told yet
    cdef object elsewhere         # the socket object that performs, where only that can

    cdef Outcome failed(self, int error) noexcept
    cdef Outcome perform_elsewhere(self) noexcept
    cdef int take(self, int count) except -1
    cdef list datagram_in(self, int number, int size)
    cdef int received(self, list datagrams, int result) except -1


cdef class ReceiveFromOperation(Operation):
    cdef object target            # OWNS: keeps the memory below alive
    cdef char *memory
    cdef size_t room
    cdef sockaddr_storage address
    cdef socklen_t address_length

    cdef object sender_as_recent(self, RecentAddress recent)


cdef class ReceiveBytesFromOperation(ReceiveFromOperation):
    cdef BufferPool scratch
    cdef readonly bytes data

    cdef void set_up(self, int fd, BufferPool scratch, size_t length) noexcept
    cdef void take(self) noexcept


cdef class SendToOperation(Operation):
    cdef readonly bytes data
    cdef sockaddr_storage destination
    cdef socklen_t destination_length
    cdef RecentAddress recent
    cdef int family
    cdef object elsewhere         # the socket object that sends it, where only that can
    cdef object address           # then: where to
    cdef readonly object failure  # then: what it has raised

    cdef void set_up(self, int fd, int family, RecentAddress recent) noexcept
    cdef int load(self, bytes data, object address, bint to_peer, object sock) except -1
    cdef int unload(self) except -1
    cdef Outcome perform_elsewhere(self) noexcept
