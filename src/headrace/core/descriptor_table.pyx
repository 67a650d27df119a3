"""A table by descriptor: 8 bytes an entry, found without hashing.

POSIX hands out the lowest free descriptor, so an array as long as the largest one in use is
dense where a dict of ten thousand ints is not.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from headrace.core.collector cimport traverse_also, traverseproc, visitproc


cdef class DescriptorTable:
    def __cinit__(self):
        self.entries = NULL
        self.size = 0
        self.count = 0

    def __dealloc__(self):
        self.clear()
        free(self.entries)

    def __len__(self):
        return self.count

    def __iter__(self):
        cdef int fd
        return iter([<object>self.entries[fd] for fd in range(self.size)
                     if self.entries[fd] != NULL])

    cdef int set(self, int fd, object value) except -1:
        """Put *value* at *fd*, in place of what stood there."""
        if fd < 0:
            raise ValueError(f"not a descriptor: {fd}")
        if fd >= self.size:
            self.grow(fd + 1)
        self.remove(fd)
        Py_INCREF(value)
        self.entries[fd] = <PyObject *>value
        self.count += 1
        return 0

    cdef object remove(self, int fd):
        """Take out and answer what stands at *fd*; None if nothing does."""
        cdef PyObject *entry = self.get(fd)
        if entry == NULL:
            return None
        value = <object>entry
        self.entries[fd] = NULL
        self.count -= 1
        Py_DECREF(value)
        return value

    cdef void clear(self) noexcept:
        cdef int fd
        for fd in range(self.size):
            self.remove(fd)

    cdef int grow(self, int needed) except -1:
        cdef int size = max(needed, self.size * 2, 64)
        cdef PyObject **entries
        entries = <PyObject **>realloc(self.entries, size * sizeof(PyObject *))
        if entries == NULL:
            raise MemoryError()
        memset(entries + self.size, 0, (size - self.size) * sizeof(PyObject *))
        self.entries = entries
        self.size = size
        return 0


cdef int traverse(DescriptorTable table, visitproc visit, void *argument) noexcept:
    """See core/collector.pxd."""
    cdef int answer, fd
    for fd in range(table.size):
        if table.entries[fd] != NULL:
            answer = visit(table.entries[fd], argument)
            if answer:
                return answer
    return traverse_members(<PyObject *>table, visit, argument)


cdef traverseproc traverse_members = traverse_also(DescriptorTable, <traverseproc>traverse)
