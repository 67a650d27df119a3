"""A binary file: as io.BufferedReader, BufferedWriter and BufferedRandom, with methods to await.

One position and two buffers, of which one at most holds something: `ahead` has bytes that were
read and not asked for yet, `behind` has bytes that were written and that the kernel has not got.
The position is ours (see descriptor.pyx) and counts what was delivered to the caller and what
was taken from him; a file that is appended to is written where the kernel says it ends.

Whose turn.  Two tasks may use one file: what depends on the position is done by one at a time, in
the order in which they called.  pread() and pwrite() do not, and run side by side.  So a pwrite()
leaves `ahead` alone, which somebody whose turn it is may be working with, and says when it has
ended that `ahead` is stale: the next turn begins by dropping it.

Cancelled.  A read that is cancelled has not moved the position, and what it has brought from a
pipe is read by the next one.  Of a write() that is cancelled tell() says how much was taken:
nothing if it was still waiting for its turn or for the buffer to be emptied, what the kernel has
written of it if it is larger than the buffer.  Bytes that were taken are written once.
"""

import asyncio
import io
import os
import warnings

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcpy

from headrace.files.descriptor cimport (
    Descriptor, Transfer, Turns, transfer_from, transfer_into, transfer_to_bytes,
    transfer_to_rest,
)
from headrace.core.file_operation import file_sync, file_truncate
from headrace.files.descriptor import ATTEMPT_BYTES_MAX, CLOSED as CLOSED_MESSAGE
from headrace.files.settling cimport give_way, is_turn_over
from headrace.files.settling import do
from headrace.kernel cimport file as h

# Where open() is told no other size.
BUFFER_BYTES_DEFAULT = 64 * 1024
# The first read after a seek brings so much, each further one twice as much, up to the buffer.
cdef Py_ssize_t AHEAD_BYTES_FIRST = 8 * 1024
# By how much readall() grows where the file does not say how long it is (/proc, a pipe).
cdef Py_ssize_t GROWTH_BYTES = 64 * 1024
cdef Py_ssize_t ATTEMPT = ATTEMPT_BYTES_MAX


cdef class BinaryFile:
    """What open() makes in binary mode, and what a text file is made of."""

    def __cinit__(
        self, Descriptor descriptor, str mode, Py_ssize_t buffer_size, *, bint readable,
        bint writable, bint appending=False,
    ):
        self.descriptor = descriptor
        self.mode = mode
        self.buffer_size = buffer_size
        self.is_readable = readable
        self.is_writable = writable
        self.is_appending = appending
        self.turns = Turns()
        self.ahead = bytearray()
        self.behind = bytearray()
        self.ahead_next = AHEAD_BYTES_FIRST
        if descriptor.seekable:
            self.position = h.lseek64(
                descriptor.fd, 0, os.SEEK_END if appending else os.SEEK_CUR
            )

    def __repr__(self):
        state = "closed" if self.closed else f"fd={self.descriptor.fd}"
        return f"<BinaryFile name={self.name!r} mode={self.mode!r} {state}>"

    def __del__(self):
        if self.closed or self.descriptor is None or not self.descriptor.closes:
            return
        warnings.warn(f"unclosed file {self!r}", ResourceWarning, stacklevel=2, source=self)
        self.write_behind_now()

    def write_behind_now(self):
        """Nobody will close it: what is still here is written, as by io, even if that blocks."""
        cdef ssize_t size
        while self.behind:
            data = bytes(self.behind)
            if self.descriptor.seekable and not self.is_appending:
                size = h.pwrite64(
                    self.descriptor.fd, <const char *>data, len(data), self.raw_offset()
                )
            else:
                size = h.write(self.descriptor.fd, <const char *>data, len(data))
            if size <= 0:
                return
            del self.behind[:size]

    # What it is.

    @property
    def name(self):
        return self.descriptor.name

    @property
    def raw(self):
        return self.descriptor

    def fileno(self):
        self.check_open()
        return self.descriptor.fd

    def isatty(self):
        self.check_open()
        return os.isatty(self.descriptor.fd)

    def readable(self):
        self.check_open()
        return self.is_readable

    def writable(self):
        self.check_open()
        return self.is_writable

    def seekable(self):
        self.check_open()
        return self.descriptor.seekable

    def check_open(self):
        if self.closed or self.descriptor.closing:
            raise ValueError(CLOSED_MESSAGE)

    cdef int check_readable(self) except -1:
        if self.closed or self.descriptor.closing:
            raise ValueError(CLOSED_MESSAGE)
        if not self.is_readable:
            raise io.UnsupportedOperation("not readable")
        return 0

    cdef int check_writable(self) except -1:
        if self.closed or self.descriptor.closing:
            raise ValueError(CLOSED_MESSAGE)
        if not self.is_writable:
            raise io.UnsupportedOperation("not writable")
        return 0

    cdef int check_seekable(self) except -1:
        if self.closed or self.descriptor.closing:
            raise ValueError(CLOSED_MESSAGE)
        if not self.descriptor.seekable:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        return 0

    # Reading at the position.

    async def read(self, size=-1):
        """Read *size* bytes, fewer at the end of the file only; all that is left if negative.

        Unbuffered, or of a raw read: what one system call brings.
        """
        cdef bytes data
        cdef Py_ssize_t done
        cdef Py_ssize_t wanted = -1 if size is None else size
        cdef bint is_late = False
        self.check_readable()
        if self.can_take_ahead() and 0 <= wanted <= self.ahead_count():
            is_late = is_turn_over()
            if not is_late:
                return self.take_ahead(wanted)
        elif self.can_read_at_once(wanted):
            data = PyBytes_FromStringAndSize(NULL, wanted)
            done = self.descriptor.read_at_once(data, self.position)
            if done == wanted or (done and not self.buffer_size):
                self.drop_ahead()  # what was taken of it stands before the old position
                self.position += done
                return data if done == wanted else data[:done]
        await self.turns.take()
        try:
            if is_late:
                await give_way()
            self.begin_reading()
            if wanted < 0:
                return await self.read_all()
            return await self.read_some(wanted, self.buffer_size > 0)
        finally:
            self.turns.leave()

    async def read1(self, size=-1):
        """Read at most *size* bytes with one system call at most, none if some are there."""
        cdef Py_ssize_t wanted = -1 if size is None else size
        self.check_readable()
        if wanted < 0:
            wanted = max(self.buffer_size, AHEAD_BYTES_FIRST)
        await self.turns.take()
        try:
            self.begin_reading()
            if self.ahead_count():
                return self.take_ahead(min(wanted, self.ahead_count()))
            return await self.read_some(wanted, False)
        finally:
            self.turns.leave()

    async def peek(self, size=0):
        """What is read ahead, at least a byte unless the file ends, and stays to be read."""
        self.check_readable()
        await self.turns.take()
        try:
            self.begin_reading()
            if not self.ahead_count():
                await self.fill_ahead(AHEAD_BYTES_FIRST)
            return bytes(memoryview(self.ahead)[self.ahead_start:])
        finally:
            self.turns.leave()

    async def readinto(self, target):
        """Read into the writable memory *target*: how many bytes, as many as read() would."""
        cdef Transfer transfer
        cdef Py_ssize_t size
        self.check_readable()
        await self.turns.take()
        try:
            self.begin_reading()
            if self.descriptor.seekable and not self.ahead_count():
                # Straight there: a pipe's bytes could be lost in memory that nobody looks at.
                await self.write_behind()
                self.drop_ahead()
                transfer = transfer_into(target)
                await self.descriptor.read_into(transfer, self.position, self.buffer_size > 0)
                self.position += transfer.done
                return transfer.done
            view = memoryview(target).cast("B")
            data = await self.read_some(len(view), self.buffer_size > 0)
            size = len(data)
            view[:size] = data
            return size
        finally:
            self.turns.leave()

    async def readline(self, size=-1):
        """Read up to and with the next newline, *size* bytes at most; b"" at the end."""
        cdef Py_ssize_t limit = -1 if size is None else size
        cdef Py_ssize_t length
        cdef bint is_late = False
        self.check_readable()
        if self.can_take_ahead():
            length = self.line_length(0, limit)
            if length >= 0:
                is_late = is_turn_over()
                if not is_late:
                    return self.take_ahead(length)
        await self.turns.take()
        try:
            if is_late:
                await give_way()
            self.begin_reading()
            return await self.read_line(limit)
        finally:
            self.turns.leave()

    async def readlines(self, hint=-1):
        """Read lines to the end, or until they have *hint* bytes together."""
        lines = []
        size = 0
        while line := await self.readline():
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __aiter__(self):
        self.check_readable()
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    # Reading at any place.

    async def pread(self, size, offset):
        """Read *size* bytes at *offset*, fewer at the end of the file only; the position stays."""
        cdef Transfer transfer
        cdef bytes data
        cdef Py_ssize_t done
        cdef Py_ssize_t wanted = size
        cdef long long start = offset
        self.check_readable()
        if wanted < 0 or start < 0:
            raise ValueError("size and offset must not be negative")
        if self.behind:
            await self.flush()
        data = PyBytes_FromStringAndSize(NULL, wanted)
        done = self.descriptor.read_at_once(data, start)
        if done == wanted:
            return data
        transfer = transfer_to_rest(data, done)
        await self.descriptor.read_into(transfer, start, True)
        return transfer.data()

    async def pwrite(self, data, offset):
        """Write all of *data* at *offset*, to the kernel at once; the position stays."""
        cdef Transfer transfer = transfer_from(data)
        cdef long long start = offset
        self.check_writable()
        if start < 0:
            raise ValueError("offset must not be negative")
        if self.behind:
            await self.flush()
        try:
            await self.descriptor.write_from(transfer, start, True)
        finally:
            # Not before: who reads ahead meanwhile may get the old bytes.
            self.ahead_is_stale = True
        return transfer.done

    # Writing at the position.

    async def write(self, data):
        """Write *data*: into the buffer if there is room, else to the kernel; how many bytes."""
        cdef Transfer transfer
        cdef bint is_late = False
        self.check_writable()
        transfer = transfer_from(data)
        if not self.turns.taken and not self.ahead:
            if PyByteArray_GET_SIZE(self.behind) + transfer.length < self.buffer_size:
                is_late = is_turn_over()
                if not is_late:
                    return self.put_behind(transfer)
        await self.turns.take()
        try:
            if is_late:
                await give_way()
            self.check_writable()
            self.drop_ahead()
            if PyByteArray_GET_SIZE(self.behind) + transfer.length < self.buffer_size:
                return self.put_behind(transfer)
            await self.write_behind()
            if transfer.length < self.buffer_size:
                return self.put_behind(transfer)
            try:
                await self.descriptor.write_from(
                    transfer, self.write_offset(), self.buffer_size > 0
                )
            finally:
                self.written(transfer.done)
            return transfer.done
        finally:
            self.turns.leave()

    async def writelines(self, lines):
        """Write each of *lines*; no newlines are added."""
        self.check_writable()
        for line in lines:
            await self.write(line)

    async def flush(self):
        """Give the kernel what is in the buffer.  That it reaches the disk is fsync()'s affair."""
        self.check_open()
        await self.turns.take()
        try:
            self.check_open()
            await self.write_behind()
        finally:
            self.turns.leave()

    async def fsync(self):
        """flush(), and wait until all of the file is on the disk."""
        await self.sync(False)

    async def fdatasync(self):
        """fsync() of the contents, and of no more than is needed to read them."""
        await self.sync(True)

    async def sync(self, bint data_only):
        await self.flush()
        self.check_open()
        self.descriptor.users += 1
        try:
            await do(file_sync(self.descriptor.fd, data_only).keep(self.descriptor), self.name)
        finally:
            self.descriptor.leave()

    # The position.

    def tell(self):
        """Where the next byte is read or written: no system call, nothing to await."""
        self.check_seekable()
        return self.position

    async def seek(self, offset, whence=os.SEEK_SET):
        """Move the position: from the start, from itself, or from the end; where it is then."""
        self.check_seekable()
        await self.turns.take()
        try:
            self.check_seekable()
            self.drop_stale()
            await self.write_behind()
            self.move_to(self.target_of(offset, whence))
            return self.position
        finally:
            self.turns.leave()

    async def truncate(self, size=None):
        """Make the file *size* bytes long, by default up to tell(); the position stays."""
        cdef long long length
        self.check_writable()
        await self.turns.take()
        try:
            self.check_writable()
            await self.write_behind()
            length = self.position if size is None else size
            self.drop_ahead()
            self.descriptor.users += 1
            try:
                await do(
                    file_truncate(self.descriptor.fd, length).keep(self.descriptor), self.name
                )
            finally:
                self.descriptor.leave()
            return length
        finally:
            self.turns.leave()

    # The end.

    async def close(self):
        """Flush and close; may be called twice.  Closed it is also if this raises.

        What is in flight is waited for, except who waits for a peer (a FIFO): he gets a ValueError.
        """
        if self.closed:
            return
        self.closed = True
        try:
            if self.behind:
                await self.close_behind()
        finally:
            await self.descriptor.close()

    aclose = close

    async def close_behind(self):
        """Flush, even if cancelled: what was taken is written.  Not to a pipe nobody reads."""
        interruption = None
        while self.behind:
            try:
                await self.turns.take()
                try:
                    await self.write_behind()
                finally:
                    self.turns.leave()
            except asyncio.CancelledError as error:
                if not self.descriptor.seekable:
                    raise
                interruption = error
        if interruption is not None:
            raise interruption

    async def __aenter__(self):
        self.check_open()
        return self

    async def __aexit__(self, *exception):
        await self.close()

    # What they are made of.  Who calls has the turn.

    async def read_all(self):
        cdef Transfer transfer
        await self.write_behind()
        if self.descriptor.seekable:
            return await self.read_rest()
        while True:
            transfer = transfer_to_bytes(GROWTH_BYTES)
            try:
                await self.descriptor.read_into(transfer, -1, False)
            finally:
                self.add_ahead(transfer.data())
            if transfer.done == 0:
                return self.take_ahead(self.ahead_count())

    async def read_rest(self):
        """To the end, with one object if the file says how long it is: copies hold the loop."""
        cdef Transfer transfer
        cdef Py_ssize_t size = max(self.length_now() - self.raw_offset(), 0)
        cdef long long place = self.position
        pieces = []
        if size == 0:
            size = GROWTH_BYTES
        elif size < ATTEMPT:
            # One byte more than there should be: so the end shows without another call.
            size += 1
        transfer = self.transfer_behind_ahead(self.ahead_count(), size)
        while True:
            await self.descriptor.read_into(transfer, place, True)
            place += transfer.done
            if transfer.done:
                pieces.append(transfer.data())
            if transfer.done < transfer.length:
                break
            transfer = transfer_to_bytes(GROWTH_BYTES)
        self.position = place
        self.drop_ahead()
        return b"".join(pieces)

    async def read_some(self, Py_ssize_t wanted, bint whole):
        cdef Py_ssize_t there
        await self.write_behind()
        if self.descriptor.seekable and (
            wanted - self.ahead_count() >= self.buffer_size or not self.buffer_size
        ):
            return await self.read_large(wanted, whole)
        while self.ahead_count() < wanted:
            there = self.ahead_count()
            await self.fill_ahead(wanted - there)
            if self.ahead_count() == there or not whole:
                break
        return self.take_ahead(min(wanted, self.ahead_count()))

    async def read_large(self, Py_ssize_t wanted, bint whole):
        """Straight into an object of its size, beginning with what was read ahead."""
        cdef Transfer transfer
        cdef Py_ssize_t there = min(self.ahead_count(), wanted)
        transfer = self.transfer_behind_ahead(there, wanted - there)
        await self.descriptor.read_into(transfer, self.position, whole)
        self.position += transfer.done
        self.drop_ahead()
        return transfer.data()

    cdef Transfer transfer_behind_ahead(self, Py_ssize_t there, Py_ssize_t size):
        """To read *size* bytes behind the first *there* that were read ahead, into one object."""
        cdef bytes memory = PyBytes_FromStringAndSize(NULL, there + size)
        memcpy(
            PyBytes_AS_STRING(memory), PyByteArray_AS_STRING(self.ahead) + self.ahead_start, there
        )
        return transfer_to_rest(memory, there)

    async def read_line(self, Py_ssize_t limit):
        cdef Py_ssize_t searched = 0
        cdef Py_ssize_t length
        await self.write_behind()
        while True:
            length = self.line_length(searched, limit)
            if length >= 0:
                return self.take_ahead(length)
            searched = self.ahead_count()
            await self.fill_ahead(1)
            if self.ahead_count() == searched:
                return self.take_ahead(searched)

    async def fill_ahead(self, Py_ssize_t wanted):
        """Read ahead, once; at least so much as *wanted* if the file has it."""
        cdef Transfer transfer
        cdef Py_ssize_t size = wanted
        await self.write_behind()
        if self.buffer_size:
            size = max(size, min(self.ahead_next, self.buffer_size))
        transfer = transfer_to_bytes(size)
        try:
            await self.descriptor.read_into(
                transfer, self.raw_offset() if self.descriptor.seekable else -1, False
            )
        finally:
            # Also if it was cancelled: a pipe's bytes come only once.
            self.add_ahead(transfer.data())
        self.ahead_next = min(2 * self.ahead_next, max(self.buffer_size, AHEAD_BYTES_FIRST))

    cdef bint can_read_at_once(self, Py_ssize_t wanted) noexcept:
        """Is a read of so many bytes one that goes past the buffers, and is it free to go?"""
        return (
            0 < wanted <= ATTEMPT and self.buffer_size <= wanted and self.descriptor.seekable
            and not self.turns.taken and not self.ahead_count()
            and not PyByteArray_GET_SIZE(self.behind)
        )

    cdef bint can_take_ahead(self) noexcept:
        """May what was read ahead be taken without a turn?"""
        return not self.turns.taken and not self.ahead_is_stale

    cdef int begin_reading(self) except -1:
        """It is our turn."""
        self.check_readable()
        return self.drop_stale()

    cdef int drop_stale(self) except -1:
        return self.drop_ahead() if self.ahead_is_stale else 0

    cdef Py_ssize_t ahead_count(self) noexcept:
        return PyByteArray_GET_SIZE(self.ahead) - self.ahead_start

    cdef bytes take_ahead(self, Py_ssize_t size):
        cdef bytes data
        if size > self.ahead_count():
            raise SystemError(f"{size} bytes to take of {self.ahead_count()}")
        data = PyBytes_FromStringAndSize(
            PyByteArray_AS_STRING(self.ahead) + self.ahead_start, size
        )
        self.ahead_start += size
        self.position += size
        return data

    cdef Py_ssize_t line_length(self, Py_ssize_t start, Py_ssize_t limit) noexcept:
        """How long the next line is, if it is here; searched from *start* on.  Else -1."""
        cdef char *first = PyByteArray_AS_STRING(self.ahead) + self.ahead_start
        cdef Py_ssize_t count = self.ahead_count()
        cdef char *found
        if 0 <= limit < count:
            count = limit
        if start < count:
            found = <char *>memchr(first + start, b"\n", count - start)
            if found != NULL:
                return found - first + 1
        return limit if count == limit else -1

    cdef int add_ahead(self, bytes data) except -1:
        if data:
            if self.ahead_start:
                del self.ahead[:self.ahead_start]
                self.ahead_start = 0
            self.ahead += data
        return 0

    cdef int drop_ahead(self) except -1:
        if self.ahead and self.descriptor.seekable:
            del self.ahead[:]
            self.ahead_start = 0
        self.ahead_is_stale = False
        self.ahead_next = AHEAD_BYTES_FIRST
        return 0

    cdef long long raw_offset(self) noexcept:
        """Where the kernel reads or writes next: behind what is ahead, or before what is behind."""
        return self.position + self.ahead_count() - PyByteArray_GET_SIZE(self.behind)

    def put_behind(self, Transfer transfer):
        """Into the buffer, in which there is room."""
        self.behind += PyBytes_FromStringAndSize(transfer.memory, transfer.length)
        self.position += transfer.length
        return transfer.length

    def write_offset(self):
        return -1 if self.is_appending or not self.descriptor.seekable else self.raw_offset()

    async def write_behind(self):
        """Give the buffer's bytes to the kernel; those that it did not take stay in the buffer."""
        cdef Transfer transfer
        if not self.behind:
            return
        transfer = transfer_from(bytes(self.behind))
        try:
            await self.descriptor.write_from(transfer, self.write_offset(), True)
        finally:
            self.position -= transfer.done
            del self.behind[:transfer.done]
            self.written(transfer.done)

    cdef int written(self, Py_ssize_t size) except -1:
        """The kernel has got so many bytes: the position follows."""
        cdef long long end
        self.position += size
        if size and self.is_appending and self.descriptor.seekable:
            # Where they have come to stand: others may have appended, too.
            end = h.lseek64(self.descriptor.fd, 0, os.SEEK_CUR)
            if end >= 0:
                self.position = end + PyByteArray_GET_SIZE(self.behind)
        return 0

    def length_now(self):
        return os.fstat(self.descriptor.fd).st_size

    def target_of(self, offset, whence):
        if whence == os.SEEK_CUR:
            return self.position + offset
        if whence == os.SEEK_SET:
            if offset < 0:
                raise ValueError(f"negative seek value {offset}")
            return offset
        if whence not in (os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE):
            raise ValueError(f"invalid whence ({whence}, should be 0, 1, 2, 3 or 4)")
        return os.lseek(self.descriptor.fd, offset, whence)

    def move_to(self, long long target):
        cdef long long start = target - (self.position - self.ahead_start)
        if target < 0:
            raise OSError(22, os.strerror(22))
        if 0 <= start <= PyByteArray_GET_SIZE(self.ahead):
            self.ahead_start = start
        else:
            self.drop_ahead()
        self.position = target
