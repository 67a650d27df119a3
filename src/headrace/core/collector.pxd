# References in plain C memory, shown to the garbage collector.
#
# Cython writes tp_traverse for a class's object members alone.  A container that keeps its
# references in an array of its own would hide them: a loop that its owner forgot, with a timer
# that refers to it, would never be collected and never warn.  So such a container
#
#     * has a member `for_collector`, always None: with no member at all, Cython makes a type that
#       takes no part in collection;
#     * puts a function of its own before the one that Cython wrote, by traverse_also().
#
# It needs no tp_clear: every cycle through it leads through the loop or a handle, which have one.
# Nothing may visit while the array and its count disagree, which holds as long as no Python
# object is made between the two.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *reference, void *argument) noexcept
    ctypedef int (*traverseproc)(PyObject *self, visitproc visit, void *argument) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse


cdef inline traverseproc traverse_also(type container, traverseproc traverse) noexcept:
    """Let the collector call *traverse* for each *container*; answer what to call from it."""
    cdef PyTypeObject *slots = <PyTypeObject *>container
    cdef traverseproc written = slots.tp_traverse
    slots.tp_traverse = traverse
    return written
