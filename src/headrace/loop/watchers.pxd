from headrace.core.descriptor_table cimport DescriptorTable
from headrace.loop.engine cimport LoopCore


cdef class Watchers(LoopCore):
    cdef DescriptorTable readers
    cdef DescriptorTable writers

    cdef object watch(self, DescriptorTable table, object fileobj, int events, object handle)
    cdef bint unwatch(self, DescriptorTable table, object fileobj) except -1
    cdef int check_no_transport(self, int fd) except -1
