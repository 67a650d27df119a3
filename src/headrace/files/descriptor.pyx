"""A descriptor of a file, and the moving of bytes through it without blocking the loop.

Facts.  preadv2(2) with RWF_NOWAIT reads what the page cache has, or says EAGAIN: a microsecond,
where a thread costs fifty.  Not every file system can: /proc says EOPNOTSUPP, and so does ext4 of
a write.  A pipe can, both ways.

What the obvious does wrong.  (1) A thread that blocks in the read of a FIFO is lost until the peer
writes, and what it has read for a task that was cancelled is lost, too.  So what waits for a peer
is waited for with add_reader(), and read when it is ready.  (2) The kernel's file position moves
when a read happens, wanted or not.  So files that can be sought are read and written at offsets
that we keep, and a position moves with what was delivered.  (3) The number of a descriptor that is
closed while a thread is on its way to it means another file when the thread arrives.  So close()
waits for what is in flight.
"""

import asyncio
import os
from collections import deque

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from headrace.core.file_operation cimport FileOperation, file_read, file_write
from headrace.core.file_operation import TRANSFER_BYTES_MAX as FILE_BYTES_MAX, file_close
from headrace.files.settling cimport give_way, is_budget_spent
from headrace.files.settling import error_of, settle
from headrace.kernel cimport file as h
from headrace.kernel.errno cimport EAGAIN, ECANCELED, EINTR, EOPNOTSUPP, ESPIPE, errno

# What a pipe that is ready takes without waiting: pipe(7), PIPE_BUF.
cdef Py_ssize_t ROOM_BYTES = 4096
CLOSED = "I/O operation on closed file."
# No attempt is longer, so that the budget bounds what the loop's turn takes: some 25 us.
ATTEMPT_BYTES_MAX = 256 * 1024
cdef Py_ssize_t ATTEMPT = ATTEMPT_BYTES_MAX

cdef Py_ssize_t TRANSFER_BYTES_MAX = FILE_BYTES_MAX

cdef extern from "Python.h":
    ctypedef struct Py_buffer:
        void *buf
        Py_ssize_t len
    int PyObject_GetBuffer(object source, Py_buffer *view, int flags) except -1
    void PyBuffer_Release(Py_buffer *view)


cdef class Exported:
    """The memory of somebody's object, locked in its place for as long as this lives."""

    cdef Py_buffer view
    cdef bint is_held

    def __cinit__(self, source, int flags):
        PyObject_GetBuffer(source, &self.view, flags)
        self.is_held = True

    def __dealloc__(self):
        if self.is_held:
            PyBuffer_Release(&self.view)


cdef class Transfer:
    """Memory to read into or to write from, and how much of it is done."""

    cdef bytes data(self):
        """What was read into transfer_to_bytes()."""
        cdef bytes whole = self.holder
        return whole if self.done == self.length else whole[:self.done]


cdef Transfer transfer_to_bytes(Py_ssize_t size):
    """To be read into a bytes object of its own."""
    return transfer_to_rest(PyBytes_FromStringAndSize(NULL, size), 0)


cdef Transfer transfer_to_rest(bytes memory, Py_ssize_t done):
    """To be read into a bytes object, not seen by anybody else, of which *done* are read."""
    cdef Transfer transfer = Transfer.__new__(Transfer)
    transfer.holder = memory
    transfer.memory = PyBytes_AS_STRING(memory)
    transfer.length = PyBytes_GET_SIZE(memory)
    transfer.done = done
    return transfer


cdef Transfer transfer_into(object target):
    """To be read into the caller's writable memory."""
    return transfer_of(Exported(target, PyBUF_WRITABLE))


cdef Transfer transfer_from(object source):
    """To be written from the caller's memory."""
    return transfer_of(Exported(source, PyBUF_SIMPLE))


cdef Transfer transfer_of(Exported memory):
    cdef Transfer transfer = Transfer.__new__(Transfer)
    transfer.holder = memory
    transfer.memory = <char *>memory.view.buf
    transfer.length = memory.view.len
    return transfer


cdef class Turns:
    """One task at a time, in the order in which they came; free if nobody else is there."""

    async def take(self):
        if not self.taken:
            self.taken = True
            return
        waiter = asyncio.get_running_loop().create_future()
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self.leave()  # it was ours already
            raise

    cpdef int leave(self) except -1:
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)  # and `taken` stays: it is theirs
                return 0
        self.taken = False
        return 0


cdef class Descriptor:
    """What bytes are moved through; *closes* says whether it is ours to close."""

    def __cinit__(self, int fd, name, bint closes=True):
        self.fd = -1
        self.waiting = set()
        self.closes = closes
        self.name = name
        self.nowait_read = True
        self.nowait_write = True
        # An eventfd's lseek(2) answers 0, and its pread(2) ESPIPE.
        self.seekable = h.lseek64(fd, 0, os.SEEK_CUR) >= 0 and not (
            h.pread64(fd, NULL, 0, 0) < 0 and errno == ESPIPE
        )
        self.waits = not self.seekable
        self.fd = fd

    def __dealloc__(self):
        if self.fd >= 0 and self.closes:
            h.close(self.fd)

    def __repr__(self):
        return f"<Descriptor {self.fd} name={self.name!r} users={self.users}>"

    # Attempts.

    cdef Py_ssize_t read_at_once(self, bytes memory, long long offset) noexcept:
        """Read what is there, if the budget allows: how much.  Costs no coroutine."""
        cdef Py_ssize_t length = min(PyBytes_GET_SIZE(memory), ATTEMPT)
        if is_budget_spent(length):
            return 0
        return max(self.try_read(PyBytes_AS_STRING(memory), length, offset), 0)

    cdef Py_ssize_t try_read(self, char *memory, size_t length, long long offset) noexcept:
        """Read what is there: a count, or a negative errno; -EAGAIN: it has to be waited for."""
        cdef h.iovec piece
        cdef ssize_t size
        if not self.nowait_read:
            return -EAGAIN
        piece.iov_base = memory
        piece.iov_len = length
        size = h.preadv64v2(self.fd, &piece, 1, offset, h.RWF_NOWAIT)
        if size >= 0:
            return size
        if errno == EOPNOTSUPP:
            self.nowait_read = False
        elif errno != EAGAIN and errno != EINTR:
            return -errno
        return -EAGAIN

    cdef Py_ssize_t try_write(self, const char *memory, size_t length, long long offset) noexcept:
        """Write what is taken at once: a count, or a negative errno as try_read()."""
        cdef h.iovec piece
        cdef ssize_t size
        if not self.nowait_write:
            return -EAGAIN
        piece.iov_base = <void *>memory
        piece.iov_len = length
        size = h.pwritev64v2(self.fd, &piece, 1, offset, h.RWF_NOWAIT)
        if size >= 0:
            return size
        if errno == EOPNOTSUPP:
            self.nowait_write = False
        elif errno != EAGAIN and errno != EINTR:
            return -errno
        return -EAGAIN

    cdef Py_ssize_t attempt_length(self, Transfer transfer, long long offset) noexcept:
        """How much to move at once; 0: nothing.

        Of a file that stands where the kernel says, others' bytes would come between the pieces.
        """
        cdef Py_ssize_t left = transfer.length - transfer.done
        if left > ATTEMPT and offset < 0 and not self.waits:
            return 0
        return min(left, ATTEMPT)

    # Moving.

    async def read_into(self, Transfer transfer, long long offset, bint whole):
        """Read at *offset* (-1: where the descriptor stands) until the end, or all if *whole*.

        transfer.done says how much was read, also if this raises.
        """
        cdef Py_ssize_t size, length
        cdef bint goes_on
        self.users += 1
        try:
            while transfer.done < transfer.length:
                length = self.attempt_length(transfer, offset)
                if is_budget_spent(length):
                    await give_way()
                goes_on = whole
                size = -EAGAIN
                if length:
                    size = self.try_read(
                        transfer.memory + transfer.done, length,
                        offset + transfer.done if offset >= 0 else -1,
                    )
                    # Cut by us: the one call that it stands for is not at its end.
                    goes_on = whole or (size == ATTEMPT and not self.waits)
                if size == -EAGAIN:
                    size = await self.wait_and_move(transfer, offset, False)
                    if size == -EAGAIN:
                        continue
                elif size > 0:
                    transfer.done += size
                if size < 0 and (whole or transfer.done == 0):
                    raise error_of(-size, self.name)
                if size <= 0 or not goes_on:
                    return
        finally:
            self.leave()

    async def write_from(self, Transfer transfer, long long offset, bint whole):
        """Write at *offset* (-1: where the descriptor stands), all if *whole*; as read_into()."""
        cdef Py_ssize_t size, length
        cdef bint goes_on
        self.users += 1
        self.is_written = True
        try:
            while transfer.done < transfer.length:
                length = self.attempt_length(transfer, offset)
                if is_budget_spent(length):
                    await give_way()
                goes_on = whole
                size = -EAGAIN
                if length:
                    size = self.try_write(
                        transfer.memory + transfer.done, length,
                        offset + transfer.done if offset >= 0 else -1,
                    )
                    # Cut by us: the one call that it stands for is not at its end.
                    goes_on = whole or (size == ATTEMPT and not self.waits)
                if size == -EAGAIN:
                    size = await self.wait_and_move(transfer, offset, True)
                    if size == -EAGAIN:
                        continue
                elif size > 0:
                    transfer.done += size
                if size < 0 and (whole or transfer.done == 0):
                    raise error_of(-size, self.name)
                if size <= 0 or not goes_on:
                    return
        finally:
            self.leave()

    async def read_bytes(self, Py_ssize_t size, long long offset, bint whole):
        """read_into() an object of its own.

        What a cancelled read has moved the descriptor's own position by is taken back.
        """
        cdef Transfer transfer = transfer_to_bytes(size)
        try:
            await self.read_into(transfer, offset, whole)
        except asyncio.CancelledError:
            if transfer.done and offset < 0 and self.seekable:
                h.lseek64(self.fd, -transfer.done, os.SEEK_CUR)
            raise
        return transfer.data()

    async def write_bytes(self, data, long long offset, bint whole):
        """write_from() the memory of *data*; how many bytes."""
        cdef Transfer transfer = transfer_from(data)
        await self.write_from(transfer, offset, whole)
        return transfer.done

    async def wait_and_move(self, Transfer transfer, long long offset, bint writing):
        """What has to wait, somewhere else: its result, -EAGAIN if it is to be tried again."""
        cdef FileOperation operation
        cdef char *memory
        cdef Py_ssize_t left
        cdef Py_ssize_t ready = TRANSFER_BYTES_MAX
        self.loop = asyncio.get_running_loop()
        if self.waits:
            await self.wait_ready(writing)
            if self.nowait_write if writing else self.nowait_read:
                return -EAGAIN
            ready = ROOM_BYTES if writing else TRANSFER_BYTES_MAX
        memory = transfer.memory + transfer.done
        left = min(transfer.length - transfer.done, ready)
        if offset >= 0:
            offset += transfer.done
        if writing:
            operation = file_write(self.fd, transfer, memory, left, offset)
        else:
            operation = file_read(self.fd, transfer, memory, left, offset)
        operation.keep(self)
        try:
            return await settle(operation)
        finally:
            # Also if the task was cancelled: what has happened has happened.
            if operation.has_ended and operation.result > 0:
                transfer.done += operation.result

    async def wait_ready(self, bint writing):
        """Wait for the peer.  On a number of our own: somebody else may watch this one."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        number = os.dup(self.fd)
        self.waiting.add(waiter)
        try:
            try:
                (loop.add_writer if writing else loop.add_reader)(number, tell, waiter)
            except PermissionError:
                self.waits = False  # a character device that nobody can wait for
                return
            try:
                await waiter
            finally:
                (loop.remove_writer if writing else loop.remove_reader)(number)
        finally:
            self.waiting.discard(waiter)
            os.close(number)
        if self.closing:
            raise ValueError(CLOSED)

    # Closing.

    cdef int leave(self) except -1:
        self.users -= 1
        if self.users == 0:
            self.loop = None
        if self.users == 0 and self.idle is not None and not self.idle.done():
            self.idle.set_result(None)
        return 0

    async def close(self):
        """Wait for what is in flight, then close; who waits for a peer gets a ValueError."""
        interruption = None
        loop = asyncio.get_running_loop()
        self.closing = True
        for waiter in self.waiting:
            tell(waiter)
        while self.users:
            if self.loop is not None and self.loop.is_closed():
                # Nobody will tell their end: whoever still has the descriptor in use closes it.
                return
            self.idle = loop.create_future()
            try:
                await self.idle
            except asyncio.CancelledError as error:
                interruption = error
        await self.close_idle()
        if interruption is not None:
            raise interruption

    async def close_idle(self):
        cdef FileOperation operation
        cdef int fd = self.fd
        self.fd = -1
        if fd < 0 or not self.closes:
            return
        if not self.is_written:
            # Nothing is left to be written, so that it does not wait for a disk or a server.
            h.close(fd)
            return
        operation = file_close(fd)
        try:
            result = await settle(operation)
        except asyncio.CancelledError:
            if operation.result == -ECANCELED:
                h.close(fd)
            raise
        except RuntimeError:
            # The loop's executor has been shut down.
            h.close(fd)
            return
        if result < 0:
            raise error_of(-result, self.name)


def tell(waiter):
    if not waiter.done():
        waiter.set_result(None)
