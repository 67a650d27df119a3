"""add_reader() and add_writer(): level-triggered on every model."""

from headrace.core.descriptor_table cimport DescriptorTable
from headrace.core.handle cimport Handle, make_handle
from headrace.core.operation cimport READABLE, STATE_IDLE, WRITABLE, PollOperation
from headrace.kernel.errno cimport EBADF, ECANCELED, errno
from headrace.kernel.errors cimport os_error
from headrace.kernel.unistd cimport F_GETFD, fcntl
from headrace.loop.engine cimport LoopCore
from headrace.models.contract cimport PENDING


cdef class Watcher(PollOperation):
    """Runs a handle at each turn in which the descriptor is ready."""

    cdef Handle handle

    def __repr__(self):
        # In debug mode: whose callback has held the loop up?
        return f"{PollOperation.__repr__(self)[:-1]} handle={self.handle!r}>"

    cdef int completed(self, int result, unsigned int flags) except -1:
        cdef Handle handle
        if self.handle is None:
            return 0
        if result < 0:
            if result != -ECANCELED:
                self.handle.loop.call_exception_handler({
                    "message": self.what_failed(result),
                    "exception": os_error(-result),
                    "handle": self.handle,
                })
            return 0
        # A reference of our own: the callback may end the watch, or begin another, and then raise.
        handle = self.handle
        return handle.run(0, 0)

    cdef object what_failed(self, int result):
        if result != -EBADF:
            return f"Cannot watch descriptor {self.fd}"
        remove = "remove_reader" if self.events & READABLE else "remove_writer"
        return (
            f"descriptor {self.fd} was closed while it was being watched; "
            f"call {remove}() before closing it"
        )


cdef class Watchers(LoopCore):
    def __cinit__(self, *arguments, **keywords):
        self.readers = DescriptorTable()
        self.writers = DescriptorTable()

    def add_reader(self, fd, callback, *args):
        self.check_no_transport(descriptor_of(fd))
        self._add_reader(fd, callback, *args)

    def remove_reader(self, fd):
        self.check_no_transport(watched_descriptor(self.readers, fd))
        return self._remove_reader(fd)

    def add_writer(self, fd, callback, *args):
        self.check_no_transport(descriptor_of(fd))
        self._add_writer(fd, callback, *args)

    def remove_writer(self, fd):
        self.check_no_transport(watched_descriptor(self.writers, fd))
        return self._remove_writer(fd)

    def _add_reader(self, fd, callback, *args):
        return self.watch(self.readers, fd, READABLE, make_handle(self, callback, args, None))

    def _remove_reader(self, fd):
        return self.unwatch(self.readers, fd)

    def _add_writer(self, fd, callback, *args):
        return self.watch(self.writers, fd, WRITABLE, make_handle(self, callback, args, None))

    def _remove_writer(self, fd):
        return self.unwatch(self.writers, fd)

    cdef object watch(self, DescriptorTable table, object fileobj, int events, object handle):
        cdef Watcher watcher
        cdef int fd = descriptor_of(fileobj)
        cdef void *entry = <void *>table.get(fd)
        self._check_closed()
        if entry != NULL and (<Watcher>entry).is_orphaned():
            # epoll has dropped it in silence, and a ring watches the old file.
            self.unwatch(table, fd)
            entry = NULL
        if entry != NULL and (<Watcher>entry).state != STATE_IDLE:
            watcher = <Watcher>entry
            watcher.handle.cancel()
            watcher.handle = handle
            watcher.sock = watched_object(fileobj)
            return handle
        if fcntl(fd, F_GETFD) < 0:
            # Before any table grows to fit a number that is nothing.
            raise os_error(errno)
        watcher = Watcher(fd, events, True)
        watcher.handle = handle
        watcher.sock = watched_object(fileobj)
        self._model.start(watcher)
        table.set(fd, watcher)
        return handle

    cdef bint unwatch(self, DescriptorTable table, object fileobj) except -1:
        cdef Watcher watcher
        if self._closed:
            return False
        watcher = table.remove(watched_descriptor(table, fileobj))
        if watcher is None:
            return False
        watcher.handle.cancel()
        watcher.handle = None
        watcher.sock = None
        if self._model.stop(watcher) == PENDING:
            # A close(2) that follows must close: the kernel must have let go by then.
            self._model.flush()
        return True

    cdef int claim(self, int fd) except -1:
        if self.readers.get(fd) != NULL:
            self.unwatch(self.readers, fd)
        if self.writers.get(fd) != NULL:
            self.unwatch(self.writers, fd)
        return 0

    def _close_core(self):
        LoopCore._close_core(self)
        self.readers.clear()
        self.writers.clear()

    def _check_no_transport(self, fileobj):
        self.check_no_transport(descriptor_of(fileobj))

    def _forget_transport(self, transport):
        """The transport lends its descriptor to sock_sendfile()."""
        self.transports.remove(transport._sock_fd)

    def _remember_transport(self, transport):
        if transport._sock_fd >= 0:
            self.transports.set(transport._sock_fd, transport)

    cdef int check_no_transport(self, int fd) except -1:
        cdef void *entry = <void *>self.transports.get(fd)
        if entry != NULL and not (<object>entry).is_closing():
            raise RuntimeError(
                f"File descriptor {fd!r} is used by transport {<object>entry!r}"
            )
        return 0


cdef object watched_object(object fileobj):
    """Who is watched, where it can tell whether it is closed: it is not collected meanwhile."""
    return None if isinstance(fileobj, int) else fileobj


cdef int watched_descriptor(DescriptorTable table, object fileobj) except -2:
    """The descriptor of *fileobj*; of one that is closed, the number under which it is watched."""
    try:
        return descriptor_of(fileobj)
    except ValueError:
        for watcher in table:
            if (<Watcher>watcher).sock is fileobj:
                return (<Watcher>watcher).fd
        raise


cdef int descriptor_of(object fileobj) except -2:
    """The descriptor of an int or of anything with fileno()."""
    cdef object fd = fileobj
    if not isinstance(fileobj, int):
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd
