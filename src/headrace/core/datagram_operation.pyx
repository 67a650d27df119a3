"""Operations on datagrams: receive what has come, with where it came from; send one to somewhere.

A short read means nothing here: what tells that a socket is empty is a recvmmsg(2) that brought
fewer datagrams than it was asked for.  So one call takes up to DATAGRAMS_PER_CALL of them: a socket
with one costs one call, and so does a socket with thirty.

Addresses of IPv4, IPv6 and Unix sockets are converted here.  For other families, and for names
that have to be looked up, the socket module performs ("elsewhere").
"""

import socket

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memset

from headrace.core.buffer_pool cimport BufferPool
from headrace.core.operation cimport (
    OUTCOME_DONE, OUTCOME_DONE_AND_EXHAUSTED, OUTCOME_NOT_DONE, READABLE, WRITABLE, Operation,
    Outcome,
)
from headrace.core.ready_queue cimport BUFFER, BUFFER_SHIFT, MORE
from headrace.core.statistics cimport (
    CALL_RECVFROM, CALL_RECVMMSG, CALL_SENDTO, KIND_RECEIVE_FROM, KIND_SEND_TO, Counters,
)
from headrace.kernel cimport socket as socket_h
from headrace.kernel.address cimport (
    RecentAddress, address_as_python, address_is_known,
)
from headrace.kernel.errno cimport EAGAIN, EINTR, EIO, ENOMEM, errno
from headrace.kernel.unistd cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)


cdef class DatagramBatch:
    """What one recvmmsg(2) receives into; datagrams are copied out before the next.

    Each has room for what stock asyncio would receive at most.  Memory that no datagram has
    reached is not resident: datagrams of up to 4 KiB cost 128 KiB.
    """

    def __cinit__(self):
        cdef int index
        self.memory = <char *>mmap(
            NULL, DATAGRAMS_PER_CALL * DATAGRAM_BYTES_MAX, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
        )
        if <void *>self.memory == MAP_FAILED:
            self.memory = NULL
            raise MemoryError()
        memset(self.messages, 0, sizeof(self.messages))
        for index in range(DATAGRAMS_PER_CALL):
            self.pieces[index].iov_base = self.memory + index * DATAGRAM_BYTES_MAX
            self.pieces[index].iov_len = DATAGRAM_BYTES_MAX
            self.messages[index].msg_hdr.msg_iov = &self.pieces[index]
            self.messages[index].msg_hdr.msg_iovlen = 1
            self.messages[index].msg_hdr.msg_name = &self.addresses[index]

    def __dealloc__(self):
        if self.memory != NULL:
            munmap(self.memory, DATAGRAMS_PER_CALL * DATAGRAM_BYTES_MAX)

    cdef int receive(self, int fd) noexcept:
        """How many datagrams have come; -1 with errno if none."""
        cdef int index
        for index in range(DATAGRAMS_PER_CALL):
            self.messages[index].msg_hdr.msg_namelen = sizeof(socket_h.sockaddr_storage)
        return socket_h.recvmmsg(
            fd, self.messages, DATAGRAMS_PER_CALL, socket_h.MSG_DONTWAIT, NULL
        )


cdef class ReceiveDatagramsOperation(Operation):
    """Multishot receive; result is how many datagrams have come, or a negative errno: the end.

    It ends with every error, and may be started again: a datagram socket outlives its errors.
    """

    def __init__(self, sock, DatagramBatch batch, on_complete=None):
        self.fd = sock.fileno()
        self.kind = KIND_RECEIVE_FROM
        self.events = READABLE
        self.multishot = True
        # A Unix datagram may be larger than a record, and an end of it would be lost.
        self.composed = (
            sock.family not in (socket.AF_INET, socket.AF_INET6)
            or sock.type not in (socket.SOCK_DGRAM, socket.SOCK_RAW)
        )
        self.elsewhere = None if address_is_known(sock.family) else sock
        self.batch = batch
        self.recent = RecentAddress()
        self.arrived = []
        self.on_complete = on_complete

    cdef bint goes_on(self) noexcept:
        return self.result > 0

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef int count
        self.flags = 0
        if self.elsewhere is not None:
            counters.system_calls[CALL_RECVFROM] += 1
            return self.perform_elsewhere()
        counters.system_calls[CALL_RECVMMSG] += 1
        count = self.batch.receive(self.fd)
        if count <= 0:
            return self.failed(errno if count < 0 else EAGAIN)
        try:
            self.take(count)
        except MemoryError:
            return self.failed(ENOMEM)
        self.result = count
        return OUTCOME_DONE_AND_EXHAUSTED if count < DATAGRAMS_PER_CALL else OUTCOME_DONE

    cdef Outcome failed(self, int error) noexcept:
        if error == EAGAIN or error == EINTR:
            return OUTCOME_NOT_DONE
        self.result = -error
        return OUTCOME_DONE

    cdef Outcome perform_elsewhere(self) noexcept:
        try:
            self.arrived.append(self.elsewhere.recvfrom(DATAGRAM_BYTES_MAX))
        except OSError as error:
            return self.failed(error.errno or EIO)
        except BaseException:
            return self.failed(ENOMEM)
        self.result = 1
        return OUTCOME_DONE

    cdef int take(self, int count) except -1:
        """Make objects of the first *count* datagrams of the batch."""
        cdef socket_h.mmsghdr *message
        cdef int index
        taken = []
        for index in range(count):
            message = &self.batch.messages[index]
            data = PyBytes_FromStringAndSize(
                <char *>self.batch.pieces[index].iov_base, message.msg_len
            )
            address = self.recent.as_python(
                <socket_h.sockaddr *>&self.batch.addresses[index], message.msg_hdr.msg_namelen
            )
            taken.append((data, address))
        if self.arrived:
            self.arrived.extend(taken)
        else:
            self.arrived = taken
        return 0

    cdef list datagram_in(self, int number, int size):
        """The one datagram in the record *number*, which is *size* bytes long."""
        cdef char *memory = self.records.address(number)
        cdef Record *record = <Record *>memory
        data = PyBytes_FromStringAndSize(memory + RECORD_HEAD_BYTES, size - RECORD_HEAD_BYTES)
        address = self.recent.as_python(
            <socket_h.sockaddr *>(memory + sizeof(Record)),
            min(record.address_length, <uint32_t>RECORD_ADDRESS_BYTES),
        )
        return [(data, address)]

    cdef int run(self, int result, unsigned int flags) except -1:
        cdef list datagrams = []
        if not flags & MORE:
            self.retire()
        if flags & BUFFER:
            try:
                datagrams = self.datagram_in(flags >> BUFFER_SHIFT, result)
            finally:
                self.records.release(flags >> BUFFER_SHIFT)
            result = 1
        elif result == len(self.arrived):
            datagrams = self.arrived
            self.arrived = []
        elif result > 0:
            datagrams = self.arrived[:result]
            del self.arrived[:result]
        return self.received(datagrams, result)

    cdef void dropped(self, int result, unsigned int flags) noexcept:
        if flags & BUFFER:
            self.records.release(flags >> BUFFER_SHIFT)
        Operation.dropped(self, result, flags)

    cdef int received(self, list datagrams, int result) except -1:
        """*datagrams* are pairs of bytes and address, *result* is their count; or the end."""
        if self.on_complete is not None:
            self.on_complete(self, result, datagrams)
        return 0


cdef class ReceiveFromOperation(Operation):
    """One datagram into the caller's writable buffer; result is the count of bytes."""

    def __init__(self, int fd, target, length=None, on_complete=None):
        cdef unsigned char[::1] view = memoryview(target).cast("B")
        self.fd = fd
        self.kind = KIND_RECEIVE_FROM
        self.events = READABLE
        self.composed = True
        self.on_complete = on_complete
        self.target = view
        self.memory = <char *>&view[0] if view.shape[0] else NULL
        # Not `length`, which a model may shorten: the rest of a datagram would be lost.
        self.room = view.shape[0] if length is None else min(length, view.shape[0])

    @property
    def sender(self):
        """Afterwards: where it came from, in the socket module's form."""
        return address_as_python(<socket_h.sockaddr *>&self.address, self.address_length)

    cdef object sender_as_recent(self, RecentAddress recent):
        """`sender`, the same object as last time where it is the same."""
        return recent.as_python(<socket_h.sockaddr *>&self.address, self.address_length)

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        counters.system_calls[CALL_RECVFROM] += 1
        self.address_length = sizeof(self.address)
        size = socket_h.recvfrom(
            self.fd, self.memory, self.room, socket_h.MSG_DONTWAIT,
            <socket_h.sockaddr *>&self.address, &self.address_length,
        )
        return self.transferred(size, 0)


cdef class ReceiveBytesFromOperation(ReceiveFromOperation):
    """One datagram of at most *length* bytes, left in `data`.

    Through a buffer of the loop's: a caller that waits for a long time holds no memory.
    """

    def __init__(self, int fd, BufferPool scratch, size_t length, on_complete=None):
        self.set_up(fd, scratch, length)
        self.on_complete = on_complete

    cdef void set_up(self, int fd, BufferPool scratch, size_t length) noexcept:
        self.fd = fd
        self.kind = KIND_RECEIVE_FROM
        self.events = READABLE
        self.composed = True
        self.scratch = scratch
        self.room = min(length, scratch.size)

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef int number = self.scratch.acquire()
        cdef Outcome outcome
        if number < 0:
            return OUTCOME_NOT_DONE
        self.memory = self.scratch.address(number)
        outcome = ReceiveFromOperation.perform(self, counters)
        if outcome == OUTCOME_DONE and self.result >= 0:
            self.take()
        self.scratch.release(number)
        return outcome

    cdef void take(self) noexcept:
        try:
            self.data = PyBytes_FromStringAndSize(self.memory, self.result)
        except MemoryError:
            self.result = -ENOMEM


cdef class SendToOperation(Operation):
    """One datagram; result is the count of its bytes.  load() says which, and where to."""

    def __init__(self, sock, bytes data=None, address=None, on_complete=None, *,
                 RecentAddress recent=None):
        self.set_up(sock.fileno(), sock.family, RecentAddress() if recent is None else recent)
        self.on_complete = on_complete
        if data is not None:
            self.load(data, address, address is None, sock)

    cdef void set_up(self, int fd, int family, RecentAddress recent) noexcept:
        self.fd = fd
        self.family = family
        self.kind = KIND_SEND_TO
        self.events = WRITABLE
        # See models/uring.pyx: a kernel that waits in the middle of a send cuts it.
        self.composed = True
        self.recent = recent

    cdef int load(self, bytes data, object address, bint to_peer, object sock) except -1:
        self.data = data
        self.destination_length = 0
        if to_peer:
            return 0
        self.destination_length = self.recent.fill(self.family, address, &self.destination)
        if self.destination_length == 0:
            self.elsewhere = sock
            self.address = address
        return 0

    cdef int unload(self) except -1:
        self.data = None
        self.failure = None
        self.elsewhere = None
        self.address = None
        return 0

    cdef Outcome perform(self, Counters *counters) noexcept:
        cdef ssize_t size
        counters.system_calls[CALL_SENDTO] += 1
        if self.elsewhere is not None:
            return self.perform_elsewhere()
        size = socket_h.sendto(
            self.fd, PyBytes_AS_STRING(self.data), PyBytes_GET_SIZE(self.data),
            socket_h.MSG_DONTWAIT | socket_h.MSG_NOSIGNAL,
            <socket_h.sockaddr *>&self.destination if self.destination_length else NULL,
            self.destination_length,
        )
        return self.transferred(size, 0)

    cdef Outcome perform_elsewhere(self) noexcept:
        self.flags = 0
        try:
            self.result = self.elsewhere.sendto(self.data, self.address)
        except (BlockingIOError, InterruptedError):
            return OUTCOME_NOT_DONE
        except BaseException as error:
            self.failure = error
            self.result = -EIO
        return OUTCOME_DONE
