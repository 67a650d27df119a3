# Objects that come and go with every callback: their memory waits here to be taken again.
#
# Cython's own freelists are for classes without a base.  So a class puts two functions of its own
# into its slots, by recycle(): tp_alloc takes memory from the recycler first, tp_free puts it there
# while there is room.  CPython's allocator is spared twice, and so is the garbage collector, which
# counts what is allocated and looks through all that is young every 700 times.
#
# The memory keeps the collector's header before it; dealloc has untracked the object by then.  In
# the header a mark stays, that the object was finalized: without clearing it the next one in this
# memory never would be.

from cpython.object cimport PyObject
from libc.string cimport memset

cdef extern from "Python.h":
    ctypedef PyObject *(*allocfunc)(PyTypeObject *type, Py_ssize_t count) noexcept
    ctypedef void (*freefunc)(void *memory) noexcept
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_basicsize
        allocfunc tp_alloc
        freefunc tp_free
    PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t count)
    PyObject *PyObject_Init(PyObject *memory, PyTypeObject *type)
    void PyObject_GC_Track(void *memory)
    void PyObject_GC_Del(void *memory)
    PyTypeObject *Py_TYPE(PyObject *instance)

cdef enum:
    RECYCLED_MAX = 256
    COLLECTOR_HEADER_BYTES = 16  # two words, PyGC_Head


cdef struct Recycler:
    PyTypeObject *type
    int count
    void *memory[RECYCLED_MAX]  # OWNS


cdef inline void recycle(
    Recycler *recycler, type recycled, allocfunc allocate, freefunc free
) noexcept:
    """Let *allocate* and *free*, which call the two below, serve the class *recycled*."""
    recycler.type = <PyTypeObject *>recycled
    recycler.type.tp_alloc = allocate
    recycler.type.tp_free = free


cdef inline PyObject *recycler_allocate(
    Recycler *recycler, PyTypeObject *type, Py_ssize_t count
) noexcept:
    cdef PyObject *taken
    if recycler.count == 0 or type != recycler.type:
        return PyType_GenericAlloc(type, count)
    recycler.count -= 1
    taken = <PyObject *>recycler.memory[recycler.count]
    memset(<char *>taken - COLLECTOR_HEADER_BYTES, 0, COLLECTOR_HEADER_BYTES + type.tp_basicsize)
    PyObject_Init(taken, type)
    PyObject_GC_Track(taken)
    return taken


cdef inline void recycler_free(Recycler *recycler, void *memory) noexcept:
    if recycler.count < RECYCLED_MAX and Py_TYPE(<PyObject *>memory) == recycler.type:
        recycler.memory[recycler.count] = memory
        recycler.count += 1
    else:
        PyObject_GC_Del(memory)
