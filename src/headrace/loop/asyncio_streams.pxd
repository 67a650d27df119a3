cdef bint is_asyncio_stream(object protocol) except -1
cdef object asyncio_reader(object protocol)
cdef char *room_of_asyncio_reader(object reference, size_t room) except? NULL
cdef int leave_room_of_asyncio_reader(object reference, size_t size) except -1
cdef bint feed_asyncio_reader(object reference, const char *data, Py_ssize_t size) except -1
